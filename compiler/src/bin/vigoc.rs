//! `vigoc`: checks, explains and compiles policy.

use std::process::ExitCode;

/// A check makes hundreds of thousands of small allocations on every core.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    compiler::commands::main()
}
