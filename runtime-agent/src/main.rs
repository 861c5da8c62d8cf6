//! The `vigo` command.

fn main() -> std::process::ExitCode {
    runtime_agent::cli::main()
}
