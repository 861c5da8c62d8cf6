//! What `secrets.backend` can name.

use super::age_dir::AgeDirectory;
use super::command::Command;
use super::directory::Directory;
use super::environment::Environment;
use super::generated::Generated;
use super::vault::Vault;
use super::{Provider, SecretError, Value};
use std::path::PathBuf;
use std::time::Duration;

/// A store of secrets, as the configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// There are none.
    None,
    /// A file per path; one newline at its end does not count.
    Directory(PathBuf),
    /// A file per path, with `.age` after it, encrypted to an identity that the server has.
    Age {
        /// Of the encrypted files.
        dir: PathBuf,
        /// `AGE-SECRET-KEY-1…`, a line each.
        identity_file: PathBuf,
    },
    /// `VIGO_SECRET_` and the path in capitals, `_` for everything that is no letter or digit.
    Environment,
    /// A program that gets the path as its last argument and prints the value.
    Command {
        /// The program and the arguments before the path.
        command: Vec<String>,
        /// How long a value is good.
        refresh: Duration,
    },
    /// The KV engine, version 2, of a HashiCorp Vault or OpenBao.
    Vault(VaultSettings),
    /// Made up at the first question and kept in memory: for trying a policy out.
    Generated,
}

/// How to reach a Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultSettings {
    /// `https://HOST:PORT`.
    pub url: String,
    /// Where the engine is mounted.
    pub mount: String,
    /// Sent as `X-Vault-Namespace`.
    pub namespace: Option<String>,
    /// Holds the token; read at each question, so that it can be renewed from outside.
    pub token_file: PathBuf,
    /// CAs to trust, in PEM; without it, those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long a value is good.
    pub refresh: Duration,
}

impl Backend {
    /// The names that `secrets.backend` takes.
    pub const NAMES: &[&str] = &["none", "directory", "age", "environment", "command", "vault"];

    /// Ready to be asked. Fails when what every question needs is not there.
    pub(super) fn provider(&self) -> Result<Box<dyn Provider>, SecretError> {
        Ok(match self {
            Backend::None => Box::new(Nothing),
            Backend::Directory(dir) => Box::new(Directory(dir.clone())),
            Backend::Age { dir, identity_file } => Box::new(AgeDirectory::new(dir, identity_file)),
            Backend::Environment => Box::new(Environment),
            Backend::Command { command, refresh } => {
                Box::new(Command { argv: command.clone(), refresh: *refresh })
            }
            Backend::Vault(settings) => Box::new(Vault::new(settings.clone())?),
            Backend::Generated => Box::<Generated>::default(),
        })
    }
}

#[derive(Debug)]
struct Nothing;

impl Provider for Nothing {
    fn fetch(&self, path: &str) -> Result<Value, SecretError> {
        let place = "this server: `secrets.backend` is `none`".to_owned();
        Err(SecretError::Missing { path: path.to_owned(), place })
    }
}
