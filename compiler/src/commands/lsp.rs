//! `vigoc lsp`: becomes `vigo-lsp`, so that an editor has to know one program only.

use super::failure::{Exit, Failure};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// The language server.
const PROGRAM: &str = "vigo-lsp";

/// Arguments of `lsp`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Taken for the sake of editors that give it: the server speaks on stdin and stdout anyhow.
    #[arg(long)]
    stdio: bool,
}

const EXAMPLES: &str = "Examples:
  vigoc lsp                      what an editor starts; docs/editors.md says how to tell it

It starts the program vigo-lsp, which lies beside vigoc or on the PATH.

Exit codes: those of vigo-lsp; 65 it cannot be started.";

/// Runs the command. Returns only when it fails: otherwise this process is the server.
pub(super) fn run(args: &Args, directory: Option<PathBuf>) -> Result<Exit, Failure> {
    let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name(PROGRAM));
    let program = beside.filter(|path| path.is_file()).unwrap_or_else(|| PROGRAM.into());
    let mut command = Command::new(&program);
    if args.stdio {
        command.arg("--stdio");
    }
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let error = command.exec();
    Err(Failure::Input(format!(
        "cannot start `{}`: {error}; install it beside vigoc or on the PATH (`cargo install --path lsp`)",
        program.display()
    )))
}
