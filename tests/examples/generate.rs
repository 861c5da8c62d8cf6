//! Writes a generated policy: `cargo run -p vigo-tests --example generate -- DIR MODULES RESOURCES ENTRIES [HOSTS]`; with
//! HOSTS a fleet too, as `DIR/fleet.jsonl`.

use std::path::Path;
use std::process::ExitCode;
use vigo_tests::generator::{generate, large_fleet};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = args.iter().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (Some(dir), [modules, resources, entries, hosts @ ..]) = (args.first(), &numbers[..]) else {
        eprintln!("usage: generate DIR MODULES RESOURCES ENTRIES [HOSTS]");
        return ExitCode::from(64);
    };
    let dir = Path::new(dir);
    let written = generate(dir, *modules, *resources, *entries).and_then(|()| match hosts.first() {
        Some(hosts) => std::fs::write(dir.join("fleet.jsonl"), large_fleet(*entries, *hosts)),
        None => Ok(()),
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{}: {e}", dir.display());
            ExitCode::FAILURE
        }
    }
}
