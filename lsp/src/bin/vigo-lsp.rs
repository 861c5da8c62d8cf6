//! `vigo-lsp`: the language server of Vigo, on standard input and output.

use std::process::ExitCode;

const HELP: &str = "The language server of Vigo, for editors.

Usage: vigo-lsp [--stdio]

It speaks the Language Server Protocol on standard input and output, and ends when the editor does.
docs/editors.md says how to tell an editor about it.

Options:
      --stdio    Taken for the sake of editors that give it
  -h, --help     Print help
  -V, --version  Print version

Exit codes: 0 the editor said goodbye, 1 it went away without, 64 wrong usage.";

fn main() -> ExitCode {
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--stdio") => {}
            Some("-h" | "--help") => return print(HELP),
            Some("-V" | "--version") => return print(concat!("vigo-lsp ", env!("CARGO_PKG_VERSION"))),
            _ => {
                eprintln!("error: `{}` is not understood; try --help", argument.to_string_lossy());
                return ExitCode::from(64);
            }
        }
    }
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let goodbye = runtime.block_on(lsp::serve(tokio::io::stdin(), tokio::io::stdout()));
            // a thread still waits for input that nobody will send: it must not keep the process
            std::process::exit(i32::from(!goodbye))
        }
        Err(e) => {
            eprintln!("error: cannot start: {e}");
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    // a reader that went away is no error
    let _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::SUCCESS
}
