//! The `vigocli` command line: the REST API for people and scripts.

mod access;
mod connection;
mod fleet;
mod secrets;
mod task;
mod workflow;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use connection::{Connection, Place};
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(
    name = "vigocli",
    version,
    about = "Looks at a fleet and steers it, over the network",
    after_help = "Examples:
  export VIGO_SERVER=https://vigo.example.com:8443 VIGO_CA=ca.pem VIGO_TOKEN_FILE=token
  vigocli compliance
  vigocli envoys list --health failed
  vigocli envoys show web-01.example.com
  vigocli token create --hostname 'web-*'
  vigocli task run --on 'web-*' -- systemctl status nginx

The CA's certificate is `tls/ca.pem` beside the server's configuration. `vigosrv api-token create` makes the first \
token there; further ones come from `vigocli api-token create`.

Exit codes: 0 done, 1 not found or not allowed, 64 wrong usage, 65 unreadable input, 69 server unreachable, 70 bug."
)]
struct Cli {
    #[command(flatten)]
    color: colorchoice_clap::Color,
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct At {
    /// The server, such as https://vigo.example.com:8443 [environment: VIGO_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// A file with the API token [environment: VIGO_TOKEN_FILE, or the token itself in VIGO_TOKEN]
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The certificate of the server's CA, in PEM [environment: VIGO_CA]
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// human for people, json for one document for programs
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Human,
    /// One document for programs
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Envoys: who there is, and how they are
    #[command(subcommand)]
    Envoys(fleet::Envoys),
    /// What envoys reported about their runs
    #[command(subcommand)]
    Runs(fleet::Runs),
    /// How much of the fleet is as it should be
    #[command(after_help = "Example: vigocli compliance --format json | jq .fleet.ratio")]
    Compliance,
    /// Published policies
    #[command(subcommand)]
    Releases(fleet::Releases),
    /// Commands on envoys
    #[command(subcommand)]
    Task(task::Tasks),
    /// Ask envoys for their traits as they are now
    Query(task::Query),
    /// Tasks in order, on a batch of envoys after the other
    #[command(subcommand)]
    Workflow(workflow::Workflows),
    /// One-time tokens that let hosts enrol
    #[command(subcommand)]
    Token(access::Token),
    /// Tokens for this API and the dashboard
    #[command(subcommand)]
    ApiToken(access::ApiToken),
    /// The values that policy names as `secret:PATH`
    #[command(subcommand)]
    Secrets(secrets::Secrets),
    /// Who changed what
    #[command(subcommand)]
    Audit(access::Audit),
    #[command(flatten)]
    Manual(manual::Command),
}

/// Something was not as asked for.
const FINDING: u8 = 1;
/// Not understood.
const USAGE: u8 = 64;
/// The input is missing, unreadable or malformed.
const INPUT: u8 = 65;
/// No server, or one that cannot answer.
const UNREACHABLE: u8 = 69;
/// A bug.
const INTERNAL: u8 = 70;

/// What a command came to when it did not succeed.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn new(code: u8, message: impl ToString) -> Self {
        Failure { code, message: message.to_string() }
    }
}

/// What a command shows: a document for programs, the same for people on stdout, and a remark beside it.
struct Shown {
    command: &'static str,
    json: Value,
    human: String,
    note: Option<String>,
}

impl Shown {
    fn print(&self, format: Format) {
        match format {
            Format::Json => anstream::println!("{}", crate::text::document(self.command, self.json.clone())),
            Format::Human => anstream::print!("{}", self.human),
        }
        if let Some(note) = self.note.as_ref().filter(|_| format == Format::Human) {
            anstream::eprintln!("{note}");
        }
    }
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Broken pipe: nobody is there to be told.
            let _ = e.print();
            return if e.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    cli.color.write_global();
    match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            let red = anstyle::AnsiColor::Red.on_default().bold();
            anstream::eprintln!("{red}error{red:#}: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    if let Command::Manual(command) = &cli.command {
        return match command.run(Cli::command()) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(e) => Err(Failure::new(FINDING, e)),
        };
    }
    let file = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let server = Connection::new(&Place {
        server: cli.at.server.or_else(|| std::env::var("VIGO_SERVER").ok()),
        token_file: cli.at.token_file.or_else(|| file("VIGO_TOKEN_FILE")),
        ca: cli.at.ca.or_else(|| file("VIGO_CA")),
    })?;
    let mut code = ExitCode::SUCCESS;
    let shown = match cli.command {
        Command::Envoys(command) => fleet::envoys(&server, command)?,
        Command::Runs(command) => fleet::runs(&server, command)?,
        Command::Compliance => fleet::compliance(&server)?,
        Command::Releases(fleet::Releases::List { limit }) => fleet::releases(&server, limit)?,
        Command::Token(command) => access::token(&server, command)?,
        Command::ApiToken(command) => access::api_token(&server, command)?,
        Command::Secrets(command) => secrets::secrets(&server, command)?,
        Command::Audit(access::Audit::List { limit }) => access::audit(&server, limit)?,
        Command::Audit(access::Audit::Verify) => {
            let (shown, whole) = access::verify(&server)?;
            if !whole {
                code = ExitCode::from(FINDING);
            }
            shown
        }
        Command::Task(command) => judged(task::tasks(&server, command, cli.at.format)?, &mut code),
        Command::Query(query) => judged(task::query(&server, query, cli.at.format)?, &mut code),
        Command::Workflow(command) => {
            judged(workflow::workflows(&server, command, cli.at.format)?, &mut code)
        }
        Command::Manual(_) => return Ok(code),
    };
    shown.print(cli.at.format);
    Ok(code)
}

/// Something that was asked for was not reached, or did not end well.
fn judged((shown, good): (Shown, bool), code: &mut ExitCode) -> Shown {
    if !good {
        *code = ExitCode::from(FINDING);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_missing_is_asked_for() {
        let place =
            |server: Option<&str>| Place { server: server.map(str::to_owned), token_file: None, ca: None };
        for (server, expected) in [
            (None, "--server"),
            (Some(""), "--server"),
            (Some("http://vigo:8443"), "https only"),
            (Some("https://vigo:8443/api"), "https://HOST:PORT"),
            (Some("https://user@vigo:8443"), "https://HOST:PORT"),
            (Some("https://vigo:8443/"), "--ca"),
        ] {
            let failure = Connection::new(&place(server)).err().unwrap();
            assert_eq!(failure.code, USAGE);
            assert!(failure.message.contains(expected), "{}", failure.message);
        }
    }
}
