//! Secrets of the server, from anywhere: values come from standard input or a file, never from the command line, where
//! everybody on the machine could read them.

use super::connection::{Connection, typed};
use super::{Failure, INPUT, Shown, USAGE};
use crate::http::api::secrets::{Secret, Stored};
use crate::secrets::{check_path, read_value};
use crate::text::{plain, table};
use base64::Engine;
use clap::Subcommand;
use serde::Serialize;
use serde_json::json;
use std::io::IsTerminal;
use std::path::PathBuf;
use zeroize::Zeroizing;

#[derive(Debug, Subcommand)]
pub(super) enum Secrets {
    /// Store a value; exactly the hosts that use it get it, at their next check-in
    #[command(after_help = "Examples:
  vigocli secrets set web/db < password.txt
  openssl rand -hex 24 | vigocli secrets set web/db
  vigocli secrets set web/tls.key --file key.pem

One newline at the end does not count. In policy: `secret:web/db`. It takes a token of the role admin.")]
    Set {
        /// Names the secret
        path: String,
        /// A file with the value [default: standard input]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Names of the secrets that there are; values never come back
    List,
    /// Take a secret away; hosts that need it keep what they have
    Rm {
        /// Names the secret
        path: String,
    },
}

#[derive(Serialize)]
struct Set<'a> {
    path: &'a str,
    value_base64: &'a str,
}

pub(super) fn secrets(server: &Connection, command: Secrets) -> Result<Shown, Failure> {
    match command {
        Secrets::Set { path, file } => {
            check_path(&path).map_err(|e| Failure::new(USAGE, e))?;
            let value = match &file {
                Some(file) => {
                    let unreadable = |e| Failure::new(INPUT, format!("cannot read {}: {e}", file.display()));
                    read_value(&mut std::fs::File::open(file).map_err(unreadable)?).map_err(unreadable)?
                }
                None => {
                    let mut stdin = std::io::stdin().lock();
                    if stdin.is_terminal() {
                        let message =
                            format!("the value comes on standard input: `vigocli secrets set {path} < FILE`");
                        return Err(Failure::new(USAGE, message));
                    }
                    read_value(&mut stdin)
                        .map_err(|e| Failure::new(INPUT, format!("standard input cannot be read: {e}")))?
                }
            };
            let value = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*value));
            let json = server.post("/api/v1/secrets", &Set { path: &path, value_base64: &value })?;
            let stored: Stored = typed(json.clone())?;
            let what = if stored.replaced { "replaced" } else { "stored" };
            let note = Some(format!("the secret `{path}` was {what}"));
            Ok(Shown { command: "secrets set", json, human: String::new(), note })
        }
        Secrets::List => {
            let mut page = server.get("/api/v1/secrets", &[])?;
            let json = json!({ "secrets": page["items"].take() });
            let secrets: Vec<Secret> = typed(json["secrets"].clone())?;
            let rows: Vec<[String; 2]> =
                secrets.iter().map(|s| [plain(&s.path, 256), super::fleet::moment(s.changed_at)]).collect();
            let note = secrets
                .is_empty()
                .then(|| "there are no secrets yet; `vigocli secrets set PATH < FILE` stores one".to_owned());
            Ok(Shown { command: "secrets list", json, human: table(["SECRET", "CHANGED"], &rows), note })
        }
        Secrets::Rm { path } => {
            let json = server.post("/api/v1/secrets/remove", &json!({ "path": path }))?;
            let note =
                Some(format!("the secret `{path}` was removed; hosts that need it keep what they have"));
            Ok(Shown { command: "secrets rm", json, human: String::new(), note })
        }
    }
}
