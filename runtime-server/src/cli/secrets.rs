//! `vigosrv secrets`: the directory of encrypted files that the configuration names.

use super::{FINDING, Failure, Format, INPUT};
use crate::config::Config;
use crate::secrets::{AgeDirectory, AgeError, Backend, SecretError, check_path, read_value};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::IsTerminal;

#[derive(Debug, Subcommand)]
pub(super) enum SecretsCommand {
    /// Store the value that is on standard input; a running server sends it to who needs it at their next check-in
    #[command(after_help = "Examples:
  vigosrv secrets set web/db < password.txt
  openssl rand -hex 24 | vigosrv secrets set web/db

One newline at the end does not count. In policy: `secret:web/db`.")]
    Set {
        #[command(flatten)]
        config: super::ConfigArgs,
        /// Names the secret
        path: String,
    },
    /// Names of the secrets that there are
    List {
        #[command(flatten)]
        config: super::ConfigArgs,
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
    },
    /// Take a secret away
    Rm(Named),
    /// Whom files are encrypted to, so that secrets can be written with `age` elsewhere
    #[command(
        after_help = "Example: age -r \"$(vigosrv secrets recipient)\" -o secrets/web/db.age password.txt

More recipients, such as those of your colleagues, stand in `recipients.txt` in the directory of the secrets, a line each."
    )]
    Recipient {
        #[command(flatten)]
        config: super::ConfigArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct Named {
    #[command(flatten)]
    config: super::ConfigArgs,
    /// Names the secret
    path: String,
}

pub(super) fn secrets(command: SecretsCommand) -> Result<(), Failure> {
    match command {
        SecretsCommand::Set { config, path } => set(&config, &path),
        SecretsCommand::List { config, format } => list(&config, format),
        SecretsCommand::Rm(Named { config, path }) => {
            if !directory(&config)?.remove(&path)? {
                return Err(Failure::new(FINDING, format!("there is no secret `{path}`")));
            }
            anstream::eprintln!("the secret `{path}` was removed; hosts that need it keep what they have");
            Ok(())
        }
        SecretsCommand::Recipient { config } => {
            for recipient in directory(&config)?.recipients()?.iter().take(1) {
                anstream::println!("{recipient}");
            }
            Ok(())
        }
    }
}

fn directory(config: &super::ConfigArgs) -> Result<AgeDirectory, Failure> {
    match Config::load(&config.config)?.secrets {
        Backend::Age { dir, identity_file } => Ok(AgeDirectory::new(&dir, &identity_file)),
        _ => Err(Failure::new(
            FINDING,
            format!(
                "`vigosrv secrets` keeps files encrypted with age; `secrets.backend` of {} is another one",
                config.config.display()
            ),
        )),
    }
}

fn set(config: &super::ConfigArgs, path: &str) -> Result<(), Failure> {
    check_path(path)?;
    let directory = directory(config)?;
    let mut stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        let message = format!("the value comes on standard input: `vigosrv secrets set {path} < FILE`");
        return Err(Failure::new(64, message));
    }
    let value = read_value(&mut stdin);
    let value = value.map_err(|e| Failure::new(INPUT, format!("standard input cannot be read: {e}")))?;
    directory.set(path, &value)?;
    anstream::eprintln!("the secret `{path}` was stored");
    Ok(())
}

fn list(config: &super::ConfigArgs, format: Format) -> Result<(), Failure> {
    let listed = directory(config)?.list()?;
    match format {
        Format::Json => {
            let rows: Vec<Value> =
                listed.iter().map(|l| json!({ "path": l.path, "changed_at": l.changed_at })).collect();
            super::list::document("secrets list", json!({ "secrets": rows }))
        }
        Format::Human => {
            for secret in &listed {
                anstream::println!("{}", secret.path);
            }
            if listed.is_empty() {
                anstream::eprintln!("there are no secrets yet; `vigosrv secrets set PATH < FILE` stores one");
            }
            Ok(())
        }
    }
}

impl From<AgeError> for Failure {
    fn from(e: AgeError) -> Self {
        Failure::new(INPUT, e)
    }
}

impl From<SecretError> for Failure {
    fn from(e: SecretError) -> Self {
        Failure::new(INPUT, e)
    }
}
