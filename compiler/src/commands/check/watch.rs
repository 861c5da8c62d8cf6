//! `vigoc check --watch`: again after every save, until Ctrl-C.

use super::{Args, check, report};
use crate::commands::failure::{Exit, Failure};
use crate::commands::output;
use crate::policy::Policy;
use crate::watch::Watch;
use std::path::Path;
use std::time::{Duration, Instant};

/// Checks, waits, and checks again. It ends with Ctrl-C, which is success, or when nobody reads any more.
pub(super) fn run(args: &Args, mut policy: Policy, root: &Path, read: Duration) -> Result<Exit, Failure> {
    ctrlc::set_handler(|| std::process::exit(0))
        .map_err(|e| Failure::Input(format!("cannot wait for Ctrl-C: {e}")))?;
    let (mut watch, trouble) = Watch::start(root);
    if let Some(e) = trouble {
        output::warning(&format!("cannot watch `{}`: {e}; looking every two seconds", root.display()));
    }
    let mut started = Instant::now();
    let mut read = read;
    loop {
        let checked = check(args, &policy, root, started, read)?;
        let text = report::text(&checked.findings, args.format, checked.took, output::style());
        if !output::data_if_read(&text)? {
            return Ok(Exit::Done);
        }
        checked.finish(args)?;
        let changed = loop {
            watch.changed();
            started = Instant::now();
            match policy.refresh() {
                Ok(changed) if changed.is_empty() => {}
                Ok(changed) => break changed,
                // an editor or a checkout may be half way
                Err(e) => output::error(&format!("{e}; waiting for it to come back")),
            }
        };
        read = started.elapsed();
        let more = match changed.len() {
            0..=3 => String::new(),
            n => format!(" and {} more", n - 3),
        };
        let shown = changed.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
        let told = format!("\n-- {shown}{more} changed\n\n");
        // a summary ends the lines of a report; nothing else may stand between them
        if args.json().is_none() && !output::data_if_read(&told)? {
            return Ok(Exit::Done);
        }
    }
}
