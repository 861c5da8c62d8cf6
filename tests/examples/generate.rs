//! Writes a generated policy: `cargo run -p vigo-tests --example generate -- DIR MODULES RESOURCES ENTRIES`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = args.iter().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (Some(dir), [modules, resources, entries]) = (args.first(), &numbers[..]) else {
        eprintln!("usage: generate DIR MODULES RESOURCES ENTRIES");
        return ExitCode::from(64);
    };
    match vigo_tests::generator::generate(Path::new(dir), *modules, *resources, *entries) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{dir}: {e}");
            ExitCode::FAILURE
        }
    }
}
