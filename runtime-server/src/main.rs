//! `vigosrv`: publishes policy, serves agents, stores what they report.

fn main() -> std::process::ExitCode {
    runtime_server::cli::main()
}
