//! `vigoc doc`: reference pages.

use super::failure::{Exit, Failure};
use super::{input, output};
use crate::policy::Policy;
use crate::reference;
use std::path::PathBuf;

/// Arguments of `doc`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A policy: prints its modules instead of the standard library.
    dir: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  vigoc doc | less                types, traits and functions
  vigoc doc policy > MODULES.md   the modules of a policy, with their parameters

Exit codes: 0 success, 64 wrong usage, 65 no policy there.";

/// Runs the command.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    let text = match args.dir.is_some() || directory.is_some() {
        true => {
            let root = input::root(args.dir.as_deref(), directory)?;
            reference::modules(&Policy::open(&root)?)
        }
        false => reference::library(),
    };
    output::data(&text)?;
    Ok(Exit::Done)
}
