//! The `vigo` command line: what each command prints and how it exits. What it does stands in [`crate::agent`].

mod output;

use crate::agent::{Agent, AgentError, AgentOptions};
use crate::checkin::CheckInError;
use crate::checks::Checks;
use crate::converge::RunOptions;
use crate::daemon;
use crate::enrol::{EnrolError, EnrolOptions};
use crate::observe::RunSummary;
use crate::pause;
use crate::renew::RenewError;
use crate::speaker::{self, TalkError, TalkOptions};
use crate::status::Health;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use output::{Lines, say, summary_json, typed};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// Keeps this host in the state that its policy declares.
#[derive(Parser)]
#[command(
    name = "vigo",
    version,
    about,
    after_help = "Examples:
  vigo enroll --server vigo.example.com:1530 --token-file token --ca-hash 9f2c...
  vigo run --once --dry-run --diff
  vigo status"
)]
struct Cli {
    #[command(flatten)]
    color: colorchoice_clap::Color,
    /// Puts every path, the agent's own too, below this directory
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Says more on stderr; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

#[derive(clap::Args)]
struct RunArgs {
    /// Shows what would change and changes nothing
    #[arg(long)]
    dry_run: bool,
    /// Shows how the content of files differs
    #[arg(long)]
    diff: bool,
    /// Looks at one module or one resource only
    #[arg(long, value_name = "MODULE[.RESOURCE]")]
    only: Option<String>,
    /// Exits with 2 when something changed, 4 when something failed, 6 when both
    #[arg(long)]
    detailed_exitcode: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

impl RunArgs {
    fn options(&self) -> RunOptions {
        RunOptions { dry_run: self.dry_run, diff: self.diff, only: self.only.clone() }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Makes this host known to a server
    #[command(
        after_help = "The token can also come from a file or from VIGO_TOKEN, where other users do not see it:
  VIGO_TOKEN=... vigo enroll --server vigo.example.com:1530 --ca-hash 9f2c...

A host that was away until its certificate ended keeps its place with a new token:
  vigo enroll --rejoin --token-file token"
    )]
    Enroll {
        /// Address of the server; the port is 1530 where none is given
        #[arg(long, value_name = "HOST:PORT", required_unless_present = "rejoin")]
        server: Option<String>,
        /// One-time token from `vigosrv token create`
        #[arg(long, conflicts_with = "token_file")]
        token: Option<String>,
        /// File with the token
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// SHA-256 of the CA's public key, printed beside the token
        #[arg(long, value_name = "HEX", required_unless_present = "rejoin")]
        ca_hash: Option<String>,
        /// Name of this envoy; the host's own otherwise
        #[arg(long, value_name = "NAME", conflicts_with = "rejoin")]
        hostname: Option<String>,
        /// Replaces an identity that is there
        #[arg(long, conflicts_with = "rejoin")]
        force: bool,
        /// Keeps the identity that is there and gets it a new certificate, after the old one ended
        #[arg(long)]
        rejoin: bool,
    },
    /// Renews this host's certificate now; the agent does it by itself in time
    #[command(
        after_help = "A new key comes with it, and the old one is good for nothing ten minutes after the first use of the \
        new one. The daemon has to be stopped for it.

Example:
  vigo renew"
    )]
    Renew,
    /// Converges at every interval, or once
    #[command(
        after_help = "Where there is a user `vigo`, another process speaks with the server, as that user and without rights.

Examples:
  vigo run --once --dry-run --diff
  vigo run --once --only nginx.config --detailed-exitcode
  vigo run --one-process"
    )]
    Run {
        /// Once, instead of for ever
        #[arg(long)]
        once: bool,
        /// Speaks with the server from the process that changes the host, as in a container
        #[arg(long)]
        one_process: bool,
        #[command(flatten)]
        args: RunArgs,
    },
    /// Converges to a bundle in files, without a server
    #[command(after_help = "Example:
  vigoc build policy --fleet fleet.json --out build && vigo apply build --envoy web-1.example.com --dry-run")]
    Apply {
        /// What `vigoc build` wrote
        bundle_dir: PathBuf,
        /// Whose bundle, where there are several
        #[arg(long, value_name = "HOST")]
        envoy: Option<String>,
        #[command(flatten)]
        args: RunArgs,
    },
    /// Shows identity, server, bundle, last run and what waits
    Status {
        /// How to print
        #[arg(long, value_enum, default_value = "human")]
        format: Format,
        /// Answers as a monitoring plugin: 0 OK, 1 WARN, 2 CRIT, 3 UNKNOWN
        #[arg(long)]
        check: bool,
    },
    /// Explains one resource of this host's policy: what it has to be, why, and how it is
    #[command(after_help = "Nothing is changed, and the daemon may be running.

Example:
  vigo explain nginx.config --diff")]
    Explain {
        /// As MODULE.RESOURCE
        resource: String,
        /// Shows how the content of a file differs
        #[arg(long)]
        diff: bool,
        /// How to print
        #[arg(long, value_enum, default_value = "human")]
        format: Format,
    },
    /// Leaves this host as it is for a while
    #[command(
        after_help = "The agent goes on to speak to its server and to run tasks. At most 30 days; a pause ends by itself.

Example:
  vigo pause --for 2h --reason 'looking for what fills the disk'"
    )]
    Pause {
        /// How long, such as 30m, 2h or 1d
        #[arg(long = "for", value_name = "DURATION")]
        time: String,
        /// Why, for whoever wonders
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Ends a pause
    Resume,
    /// Looks for what keeps the agent from its work, and says what to do
    Doctor {
        /// How to print
        #[arg(long, value_enum, default_value = "human")]
        format: Format,
    },
    /// Shows what is known about this host
    #[command(after_help = "Example:
  vigo traits os.family")]
    Traits {
        /// Such as `os` or `os.family`
        path: Option<String>,
        /// How to print
        #[arg(long, value_enum, default_value = "human")]
        format: Format,
    },
    /// Verifies everything that is kept on disk
    Verify {
        /// How to print
        #[arg(long, value_enum, default_value = "human")]
        format: Format,
    },
    /// The part of `vigo run` that speaks with the server; started by it
    #[command(hide = true)]
    Talk {
        #[arg(long, requires = "gid")]
        uid: Option<u32>,
        #[arg(long, requires = "port")]
        gid: Option<u32>,
        #[arg(long, requires = "uid")]
        port: Option<u16>,
    },
    #[command(flatten)]
    Manual(manual::Command),
}

/// Parses, runs, exits.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let usage = error.use_stderr();
            // Nothing is left to do where even this cannot be printed.
            let _ = error.print();
            return ExitCode::from(if usage { 64 } else { 0 });
        }
    };
    cli.color.write_global();
    if let Command::Talk { uid, gid, port } = cli.command {
        return ExitCode::from(speak(uid, gid, port));
    }
    // There are keys and secrets in memory: no core, and nobody else looks in. What is started here begins afresh.
    if let Err(errno) = nix::sys::prctl::set_dumpable(false) {
        eprintln!("warning: a crash of this process may leave a core: {}", errno.desc());
    }
    let daemon = matches!(cli.command, Command::Run { once: false, .. });
    crate::log::begin(level(cli.verbose, daemon));
    // Files of commands that are run, not of ours: those are given their modes one by one.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let split = matches!(cli.command, Command::Run { one_process: false, .. } | Command::Renew);
    let options = AgentOptions { root: cli.root.clone(), split, ..AgentOptions::default() };
    let agent = Agent::new(options.clone());
    let code = match &cli.command {
        Command::Enroll { server, token, token_file, ca_hash, hostname, force, rejoin } => {
            match read_token(token.as_ref(), token_file.as_ref()) {
                Ok(token) => enroll(
                    &agent,
                    &EnrolOptions {
                        server: server.clone(),
                        token,
                        ca_hash: ca_hash.clone(),
                        hostname: hostname.clone(),
                        force: *force,
                        rejoin: *rejoin,
                    },
                ),
                Err((code, message)) => fail(code, &message),
            }
        }
        Command::Renew => renew(&agent),
        Command::Run { once: true, args, .. } => {
            once("run", &options, args, |lines| agent.run_once(&args.options(), lines))
        }
        Command::Run { once: false, args, .. } => {
            if args.dry_run || args.only.is_some() || args.detailed_exitcode || args.format == Format::Json {
                fail(64, "--dry-run, --only, --detailed-exitcode and --format json need --once")
            } else {
                run(&agent, &options, args)
            }
        }
        Command::Apply { bundle_dir, envoy, args } => once("apply", &options, args, |lines| {
            agent.apply(bundle_dir, envoy.as_deref(), &args.options(), lines)
        }),
        Command::Status { format, check } => status(&agent, *format, *check),
        Command::Traits { path, format } => traits(&agent, path.as_deref(), *format),
        Command::Explain { resource, diff, format } => explain(&agent, resource, *diff, *format),
        Command::Pause { time, reason } => pause_for(&agent, time, reason),
        Command::Resume => resume(&agent),
        Command::Doctor { format } => checked("doctor", &agent, &agent.doctor(), *format),
        Command::Verify { format } => verify(&agent, *format),
        // It was dealt with before anything of the host was looked at.
        Command::Talk { .. } => 64,
        Command::Manual(command) => {
            command.run(Cli::command()).map_or_else(|e| fail(1, &e.to_string()), |()| 0)
        }
    };
    ExitCode::from(code)
}

/// Nothing here may look at the host: it still is root.
fn speak(uid: Option<u32>, gid: Option<u32>, port: Option<u16>) -> u8 {
    let options = match (uid, gid, port) {
        (Some(uid), Some(gid), Some(port)) => Some(TalkOptions { uid, gid, port }),
        _ => None,
    };
    match speaker::talk(options.as_ref()) {
        Ok(never) => match never {},
        Err(error @ TalkError::ByHand) => fail(64, &error.to_string()),
        Err(error) => fail(70, &error.to_string()),
    }
}

fn level(verbose: u8, daemon: bool) -> tracing::level_filters::LevelFilter {
    use tracing::level_filters::LevelFilter;
    match verbose + u8::from(daemon) {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    }
}

fn fail(code: u8, message: &str) -> u8 {
    output::error(message);
    code
}

fn fail_with(root: &Path, error: &AgentError) -> u8 {
    fail(error.exit_code(), &typed(&error.to_string(), root))
}

/// More than any token has.
const TOKEN_LIMIT: usize = 256;

fn read_token(token: Option<&String>, file: Option<&PathBuf>) -> Result<Zeroizing<String>, (u8, String)> {
    if let Some(token) = token {
        return Ok(Zeroizing::new(token.clone()));
    }
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|e| (65, format!("cannot read {}: {e}", path.display())))?;
        let token = text.trim();
        if token.is_empty() || token.len() > TOKEN_LIMIT {
            return Err((65, format!("{} holds no token", path.display())));
        }
        return Ok(Zeroizing::new(token.to_owned()));
    }
    match std::env::var("VIGO_TOKEN") {
        Ok(token) if !token.is_empty() => Ok(Zeroizing::new(token)),
        _ => Err((64, "no token: give --token, --token-file or VIGO_TOKEN".to_owned())),
    }
}

fn enroll(agent: &Agent, options: &EnrolOptions) -> u8 {
    match agent.enrol(options) {
        Ok(id) if options.rejoin => {
            say(&typed(&format!("back as envoy {id}\nstart the agent with `vigo run`"), agent.root_path()));
            0
        }
        Ok(id) => {
            let server = options.server.as_deref().unwrap_or_default();
            let said = format!("enrolled with {server} as envoy {id}\nstart the agent with `vigo run`");
            say(&typed(&said, agent.root_path()));
            0
        }
        Err(EnrolError::Agent(error)) => fail_with(agent.root_path(), &error),
        Err(error) => fail(error.exit_code(), &error.to_string()),
    }
}

fn renew(agent: &Agent) -> u8 {
    match agent.renew() {
        Ok(end) => {
            let left = end.map(|end| end.saturating_sub(agent.clock().now()));
            say(&format!("renewed, good for {}", crate::text::span(left.unwrap_or(0))));
            0
        }
        Err(RenewError::Agent(error)) => fail_with(agent.root_path(), &error),
        Err(RenewError::CheckIn(CheckInError::Net(error))) => fail_with(agent.root_path(), &error.into()),
        Err(error) => fail(65, &error.to_string()),
    }
}

fn once(
    command: &str,
    options: &AgentOptions,
    args: &RunArgs,
    work: impl FnOnce(&mut Lines) -> Result<RunSummary, AgentError>,
) -> u8 {
    // Without it a signal ends the process where it stands, and the run is reported as interrupted.
    let _wake = daemon::stop_on_signals(options.stop.clone());
    let json = args.format == Format::Json;
    let mut lines = Lines::new(json, args.diff);
    match work(&mut lines) {
        Ok(summary) => {
            if json {
                say(&summary_json(command, &summary).to_string());
            } else {
                lines.summary(&summary);
            }
            exit_code(&summary, args.detailed_exitcode)
        }
        Err(error) => fail_with(&options.root, &error),
    }
}

fn exit_code(summary: &RunSummary, detailed: bool) -> u8 {
    match (summary.totals.failed > 0, summary.totals.changed > 0) {
        (true, true) if detailed => 6,
        (true, false) if detailed => 4,
        (true, _) => 1,
        (false, true) if detailed => 2,
        (false, _) => 0,
    }
}

fn run(agent: &Agent, options: &AgentOptions, args: &RunArgs) -> u8 {
    let wake = match daemon::stop_on_signals(options.stop.clone()) {
        Ok(wake) => wake,
        Err(e) => return fail(70, &format!("cannot listen for signals: {e}")),
    };
    match daemon::run(agent, &wake, &mut Lines::new(false, args.diff)) {
        Ok(()) => 0,
        Err(error) => fail_with(agent.root_path(), &error),
    }
}

fn status(agent: &Agent, format: Format, check: bool) -> u8 {
    let status = match agent.status() {
        Ok(status) => status,
        Err(error) if check => {
            say(&typed(&format!("VIGO UNKNOWN - {error}"), agent.root_path()));
            return 3;
        }
        Err(error) => return fail_with(agent.root_path(), &error),
    };
    if check {
        let (health, why) = status.health();
        let (word, code) = match health {
            Health::Ok => ("OK", 0),
            Health::Warning => ("WARN", 1),
            Health::Critical => ("CRIT", 2),
            Health::Unknown => ("UNKNOWN", 3),
        };
        say(&typed(&format!("VIGO {word} - {why}"), agent.root_path()));
        return code;
    }
    match format {
        Format::Json => say(&status.json().to_string()),
        Format::Human => say(typed(&status.human(), agent.root_path()).trim_end()),
    }
    0
}

fn traits(agent: &Agent, path: Option<&str>, format: Format) -> u8 {
    let all = agent.traits();
    let segments: Vec<std::sync::Arc<str>> = path.iter().flat_map(|p| p.split('.')).map(Into::into).collect();
    let Some(value) = all.at(&segments) else {
        return fail(1, &format!("there is no trait `{}` on this host", path.unwrap_or_default()));
    };
    match format {
        Format::Json => say(&serde_json::json!({
            "format_version": "1.0", "command": "traits", "tool_version": env!("CARGO_PKG_VERSION"),
            "path": path, "traits": serde_json::Value::from(value),
        })
        .to_string()),
        Format::Human => say(output::flat(path.unwrap_or_default(), value).trim_end()),
    }
    0
}

fn verify(agent: &Agent, format: Format) -> u8 {
    match agent.verify() {
        Ok(checks) => checked("verify", agent, &checks, format),
        Err(error) => fail_with(agent.root_path(), &error),
    }
}

fn checked(command: &str, agent: &Agent, checks: &Checks, format: Format) -> u8 {
    match format {
        Format::Json => say(&checks.json(command).to_string()),
        Format::Human => say(typed(&checks.human(), agent.root_path()).trim_end()),
    }
    u8::from(!checks.is_good())
}

fn explain(agent: &Agent, resource: &str, diff: bool, format: Format) -> u8 {
    let explanation = match agent.explain(resource) {
        Ok(explanation) => explanation,
        Err(error) => return fail_with(agent.root_path(), &error),
    };
    match format {
        Format::Json => say(&explanation.json().to_string()),
        Format::Human => say(explanation.human(diff).trim_end()),
    }
    0
}

fn pause_for(agent: &Agent, time: &str, reason: &str) -> u8 {
    let Some(time) = crate::text::parse_duration(time).filter(|time| !time.is_zero()) else {
        return fail(
            64,
            &format!("`{}` is no duration; write it like `30m`, `2h` or `1d`", crate::text::printable(time)),
        );
    };
    if time > pause::LONGEST {
        return fail(64, "a pause has at most 30 days: write `--for 30d` or less");
    }
    if reason.trim().is_empty() {
        return fail(64, "say why with --reason: somebody will wonder");
    }
    match agent.pause(time, reason) {
        Ok(pause) => {
            let said = format!("paused for {}\n`vigo resume` ends it", pause.human(pause.since));
            say(&typed(&said, agent.root_path()));
            0
        }
        Err(error) => fail_with(agent.root_path(), &error),
    }
}

fn resume(agent: &Agent) -> u8 {
    match agent.resume() {
        Ok(true) => say(&typed(
            "resumed; the next run comes with the next check-in, `vigo run --once` runs now if no daemon does",
            agent.root_path(),
        )),
        Ok(false) => say("it was not paused"),
        Err(error) => return fail_with(agent.root_path(), &error),
    }
    0
}
