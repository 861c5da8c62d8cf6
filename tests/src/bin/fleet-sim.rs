//! `fleet-sim`: what a server costs under a fleet.

use clap::{Parser, ValueEnum};
use serde_json::json;
use std::process::ExitCode;
use vigo_tests::fleet::scenario::{self, Scenario, Size};

/// Simulates a fleet against a real `vigosrv` of its own and measures what the server spends.
///
/// All envoys live in this process; they speak the real protocol over real TLS, sign every request and verify what they
/// are given as the agent does. Latency is counted from when a request was due. CPU and memory of the server are what
/// the operating system counts. Run it with --release, on a machine that does nothing else.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  cargo run --release -p vigo-tests --bin fleet-sim -- --envoys 2000 steady
  cargo run --release -p vigo-tests --bin fleet-sim -- --envoys 2000 --rate 300 reconnect resume
  cargo run --release -p vigo-tests --bin fleet-sim -- --envoys 100000 publish
  cargo run --release -p vigo-tests --bin fleet-sim -- --envoys 1000000 registered
  cargo run --release -p vigo-tests --bin fleet-sim -- --envoys 30000 --seconds 45 --format json storm")]
struct Arguments {
    /// What to simulate, one after the other
    #[arg(required = true, value_enum)]
    scenarios: Vec<Scenario>,
    /// Envoys that are registered
    #[arg(long, default_value_t = 1000)]
    envoys: usize,
    /// Check-ins a second
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// For how long; in a storm, over how long the envoys come back
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Modules of the generated policy
    #[arg(long, default_value_t = 40)]
    modules: usize,
    /// Resources of each module, at least 10
    #[arg(long, default_value_t = 10)]
    resources: usize,
    /// Node entries of the policy
    #[arg(long, default_value_t = 10)]
    entries: usize,
    /// Output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Human,
    /// One document
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let size = Size {
        envoys: arguments.envoys,
        rate: arguments.rate,
        seconds: arguments.seconds,
        modules: arguments.modules,
        resources: arguments.resources.max(10),
        entries: arguments.entries,
    };
    let mut documents = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for scenario in arguments.scenarios {
        let name = scenario.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
        eprintln!("{name}: {} envoys", size.envoys);
        match play(scenario, size) {
            Ok(findings) => {
                if matches!(arguments.format, Format::Human) {
                    findings.lines.iter().for_each(|line| println!("{line}"));
                }
                for failure in findings.failures.iter().take(5) {
                    eprintln!("error: {failure}");
                    code = ExitCode::from(1);
                }
                documents
                    .push(json!({ "scenario": name, "envoys": size.envoys, "findings": findings.document }));
            }
            Err(e) => {
                eprintln!("error: {name}: {e}");
                code = ExitCode::from(1);
            }
        }
    }
    if matches!(arguments.format, Format::Json) {
        println!("{:#}", json!({ "format_version": "1", "scenarios": documents }));
    }
    code
}

fn play(
    scenario: Scenario,
    size: Size,
) -> Result<scenario::Findings, vigo_tests::fleet::population::Problem> {
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(scenario::play(scenario, size, dir.path()))
}
