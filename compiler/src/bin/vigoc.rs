//! `vigoc`: checks, explains and compiles policy.

use std::process::ExitCode;

fn main() -> ExitCode {
    compiler::commands::main()
}
