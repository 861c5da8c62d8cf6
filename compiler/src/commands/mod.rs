//! The `vigoc` command line.

use crate::diagnostic::render::{Style, human};
use crate::policy::Policy;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs `vigoc`.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let dir = PathBuf::from(args.get(2).map_or(".", String::as_str));
    let started = std::time::Instant::now();
    let policy = match Policy::open(&dir) {
        Ok(p) => p,
        Err(e) => {
            anstream::eprintln!("{e}");
            return ExitCode::from(65);
        }
    };
    let report = policy.check();
    for d in &report.diagnostics {
        anstream::println!("{}", human(d, &|p| policy.text(p), Style::default()));
    }
    anstream::println!("{:?} {:?}", report.summary, started.elapsed());
    if args.get(1).is_some_and(|a| a == "variant") {
        for key in policy.classes() {
            let traits: std::collections::BTreeMap<_, _> =
                [("os".into(), ir::Value::Map([("family".into(), "debian".into())].into_iter().collect()))]
                    .into_iter()
                    .collect();
            match policy.variant(&key, &ir::Value::Map(traits)) {
                Ok(v) => anstream::println!("{key:?} {} {:?} {:?}", v.merkle_root, v.run_order, v.secrets),
                Err(e) => anstream::println!("{key:?} {e}"),
            }
        }
    }
    ExitCode::from(u8::from(report.has_errors()))
}
