//! `vigocli`: the server's REST API on the command line.

fn main() -> std::process::ExitCode {
    runtime_server::client::main()
}
