//! The `vigosrv` command line.

mod certificates;
mod dev;
mod list;
mod log;
mod reset;
mod run;
mod secrets;
mod setup;

use crate::config::ConfigError;
use crate::init::InitError;
use crate::pki::PkiError;
use crate::server::StartError;
use crate::store::StoreError;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Parser)]
#[command(
    name = "vigosrv",
    version,
    about = "Serves policy to agents and stores what they report",
    after_help = "Examples:
  vigosrv init --dir /etc/vigo --hostname vigo.example.com
  vigosrv run --config /etc/vigo/server.yaml
  vigosrv token create --config /etc/vigo/server.yaml --hostname 'web-*'
  vigosrv api-token create --config /etc/vigo/server.yaml --name ann --role admin
  vigosrv dev examples/acme

`token`, `api-token`, `envoys`, `runs` and `reset` work on the database of --config, so they run on the server's own machine; \
vigocli does the same over the network."
)]
struct Cli {
    #[command(flatten)]
    color: colorchoice_clap::Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a directory with CA, certificates, database and configuration
    #[command(after_help = "Examples:
  vigosrv init --dir /etc/vigo --hostname vigo.example.com,10.0.0.5
  vigosrv init --dir /etc/vigo --database postgres://vigo@db.example.com/vigo")]
    Init(InitArgs),
    /// Serve agents until told to stop
    #[command(
        after_help = "SIGHUP reads the policy again; SIGTERM and SIGINT stop the server when requests under way \
        are finished.\n\nExample: vigosrv run --config /etc/vigo/server.yaml --log-format json"
    )]
    Run(RunArgs),
    /// Try a policy out: server, agent and a sandbox in one process, nothing left behind
    #[command(after_help = "Examples:
  vigosrv dev examples/acme
  vigosrv dev examples/acme --once")]
    Dev(dev::DevArgs),
    /// Check the configuration without starting anything
    CheckConfig(ConfigArgs),
    /// One-time tokens that let hosts enrol (in the database of --config; also while the server runs)
    #[command(subcommand)]
    Token(TokenCommand),
    /// Tokens for the REST API and the dashboard (in the database of --config; also while the server runs)
    #[command(subcommand)]
    ApiToken(ApiTokenCommand),
    /// The envoys and how they are (from the database of --config; also while the server runs)
    #[command(
        after_help = "Examples:\n  vigosrv envoys --format json\n  vigosrv envoys revoke web-01.example.com"
    )]
    Envoys(EnvoysArgs),
    /// What an envoy reported about its runs, newest first
    #[command(after_help = "Example: vigosrv runs web-01.example.com --limit 5 --results")]
    Runs(RunsArgs),
    /// The values that policy names as `secret:PATH` (in the directory of --config; also while the server runs)
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    /// The certificates of the CA, the server and the signer identity, and until when they are good
    Certificates(certificates::CertificatesArgs),
    /// Tell all agents to begin anew with this server's signing keys (in the database of --config; also while the server runs)
    #[command(
        after_help = "For when agents say that a signing key or a bundle is too far ahead, retired or a rollback although the \
        server is the right one (its database was lost), and for when a signing key was stolen: keys of earlier epochs are \
        good for nothing from then on. Signed with the CA's key; no host has to be visited.

Example: vigosrv reset --config /etc/vigo/server.yaml"
    )]
    Reset(reset::ResetArgs),
    /// Copy the SQLite database to a new file, also while the server runs (for PostgreSQL there is pg_dump)
    #[command(after_help = "Example: vigosrv backup --config /etc/vigo/server.yaml /var/backups/vigo.db")]
    Backup(BackupArgs),
    #[command(flatten)]
    Manual(manual::Command),
}

#[derive(Debug, Args)]
struct InitArgs {
    /// Where; made if it does not exist
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// Names and addresses agents will dial [default: this host's name, localhost and its addresses]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    hostname: Vec<String>,
    /// A PostgreSQL database to keep everything in, such as postgres://vigo@db.example.com/vigo; it has to be there,
    /// and gets its tables [default: a SQLite file in --dir]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration file
    #[arg(long, default_value = "server.yaml", value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    log: log::LogArgs,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token; it is shown once
    #[command(after_help = "Example: vigosrv token create --ttl 15m --hostname 'web-*.example.com'")]
    Create {
        #[command(flatten)]
        config: ConfigArgs,
        /// How long it can be used
        #[arg(long, default_value = "1h", value_name = "DURATION", value_parser = duration)]
        ttl: Duration,
        /// Hosts that may use it; `*` stands for any text, `?` for one character
        #[arg(long, default_value = "*", value_name = "GLOB")]
        hostname: String,
    },
    /// List tokens; the tokens themselves are stored nowhere
    List {
        #[command(flatten)]
        config: ConfigArgs,
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
    },
    /// Take a token back before it is used
    Revoke {
        #[command(flatten)]
        config: ConfigArgs,
        /// As `list` shows it
        id: String,
    },
}

#[derive(Debug, Subcommand)]
enum ApiTokenCommand {
    /// Make a token; it is shown once
    #[command(after_help = "Examples:
  vigosrv api-token create --name ann --role admin
  vigosrv api-token create --name prometheus --role viewer --ttl 365d > token")]
    Create {
        #[command(flatten)]
        config: ConfigArgs,
        /// Who or what will use it; stands in the audit log
        #[arg(long, value_name = "NAME")]
        name: String,
        /// viewer looks; operator also lets hosts in and takes envoys out; admin also decides who may
        #[arg(long, value_name = "ROLE", value_parser = ["viewer", "operator", "admin"])]
        role: String,
        /// How long it can be used
        #[arg(long, default_value = "90d", value_name = "DURATION", value_parser = duration)]
        ttl: Duration,
    },
    /// List tokens; the tokens themselves are stored nowhere
    List {
        #[command(flatten)]
        config: ConfigArgs,
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
    },
    /// Take a token back; it is refused from then on
    Revoke {
        #[command(flatten)]
        config: ConfigArgs,
        /// As `list` shows it
        id: String,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct EnvoysArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    #[command(subcommand)]
    command: Option<EnvoysCommand>,
}

#[derive(Debug, Subcommand)]
enum EnvoysCommand {
    /// Take an envoy's place away; a running server notices within seconds
    Revoke {
        #[command(flatten)]
        config: ConfigArgs,
        /// Host name or id
        host: String,
    },
}

#[derive(Debug, Args)]
struct RunsArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Host name or id
    host: String,
    /// How many
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: u32,
    /// Also what became of each resource
    #[arg(long)]
    results: bool,
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

#[derive(Debug, Args)]
struct BackupArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The new file
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Human,
    /// One document for programs
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::config::duration(text)
        .filter(|d| !d.is_zero())
        .ok_or_else(|| "a number and a unit: ms, s, m, h, d or w, for example 15m".to_owned())
}

/// What a command came to when it did not succeed.
struct Failure {
    /// Findings as they are drawn, before the message.
    drawn: Option<String>,
    message: String,
    code: u8,
}

/// Something was not as asked for.
const FINDING: u8 = 1;
/// The input is missing, unreadable or malformed.
const INPUT: u8 = 65;
/// A bug, or a system that does not work.
const INTERNAL: u8 = 70;

impl Failure {
    fn new(code: u8, message: impl ToString) -> Self {
        Failure { drawn: None, message: message.to_string(), code }
    }

    fn print(&self) {
        if let Some(drawn) = &self.drawn {
            anstream::eprintln!("{}", drawn.trim_end());
        }
        let red = anstyle::AnsiColor::Red.on_default().bold();
        anstream::eprintln!("{red}error{red:#}: {}", self.message);
    }
}

impl From<ConfigError> for Failure {
    fn from(e: ConfigError) -> Self {
        let mistakes = match &e {
            ConfigError::Invalid(mistakes) => mistakes.len(),
            ConfigError::Unreadable { .. } => return Failure::new(INPUT, e),
        };
        let message =
            format!("the configuration has {mistakes} mistake{}", if mistakes == 1 { "" } else { "s" });
        Failure { drawn: Some(e.render(true)), ..Failure::new(INPUT, message) }
    }
}

impl From<StoreError> for Failure {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Closed | StoreError::Column(_) => Failure::new(INTERNAL, e),
            StoreError::SqliteOnly(_) => Failure::new(FINDING, e),
            e => Failure::new(INPUT, e),
        }
    }
}

impl From<InitError> for Failure {
    fn from(e: InitError) -> Self {
        match e {
            InitError::Exists(_) | InitError::Used(_) => Failure::new(FINDING, e),
            InitError::Pki(PkiError::Name(_)) => Failure::new(64, e),
            e => Failure::new(INPUT, e),
        }
    }
}

impl From<StartError> for Failure {
    fn from(e: StartError) -> Self {
        match e {
            StartError::Listen { .. } => Failure::new(FINDING, e),
            StartError::Random(_) => Failure::new(INTERNAL, e),
            e => Failure::new(INPUT, e),
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
            return if e.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    cli.color.write_global();
    let result = match cli.command {
        Command::Init(args) => setup::init(&args.dir, args.hostname, args.database),
        Command::CheckConfig(args) => setup::check_config(&args.config),
        Command::Backup(args) => setup::backup(&args.config.config, &args.file),
        Command::Certificates(args) => certificates::certificates(args),
        Command::Reset(args) => reset::reset(&args),
        Command::Secrets(command) => secrets::secrets(command),
        Command::Dev(args) => dev::dev(args),
        Command::Manual(command) => command.run(Cli::command()).map_err(|e| Failure::new(FINDING, e)),
        Command::Run(args) => run::run(&args.config.config, args.log),
        Command::Token(TokenCommand::Create { config, ttl, hostname }) => {
            setup::token(&config.config, ttl, &hostname)
        }
        Command::Token(TokenCommand::List { config, format }) => list::tokens(&config.config, format),
        Command::Token(TokenCommand::Revoke { config, id }) => setup::revoke_token(&config.config, &id),
        Command::ApiToken(ApiTokenCommand::Create { config, name, role, ttl }) => {
            setup::api_token(&config.config, &name, &role, ttl)
        }
        Command::ApiToken(ApiTokenCommand::List { config, format }) => {
            list::api_tokens(&config.config, format)
        }
        Command::ApiToken(ApiTokenCommand::Revoke { config, id }) => {
            setup::revoke_api_token(&config.config, &id)
        }
        Command::Envoys(args) => match args.command {
            None => list::envoys(&args.config.config, args.format),
            Some(EnvoysCommand::Revoke { config, host }) => setup::revoke_envoy(&config.config, &host),
        },
        Command::Runs(args) => {
            list::runs(&args.config.config, &args.host, args.limit, args.results, args.format)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_on_the_command_line() {
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert!(duration("0").is_err() && duration("soon").is_err());
    }
}
