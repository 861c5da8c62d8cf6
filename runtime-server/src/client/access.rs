//! Who may enrol, who may use the API, and who did.

use super::connection::{Connection, part, typed};
use super::{Failure, Shown};
use crate::http::api::api_tokens::{ApiToken as ApiTokenRow, Created as ApiTokenCreated};
use crate::http::api::audit::{Entry, Verdict};
use crate::http::api::tokens::{Created, Token as TokenRow};
use crate::text::{good_for, moment, plain, table};
use clap::Subcommand;
use serde_json::{Value, json};
use std::time::SystemTime;

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token; it is shown once
    #[command(after_help = "Example: vigocli token create --ttl 15m --hostname 'web-*.example.com'")]
    Create {
        /// How long it can be used
        #[arg(long, default_value = "1h", value_name = "DURATION")]
        ttl: String,
        /// Hosts that may use it; `*` stands for any text, `?` for one character
        #[arg(long, default_value = "*", value_name = "GLOB")]
        hostname: String,
    },
    /// List tokens; the tokens themselves are stored nowhere
    List,
    /// Take a token back before it is used
    Revoke {
        /// As `list` shows it
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ApiToken {
    /// Make a token; it is shown once
    #[command(
        after_help = "Example: vigocli api-token create --name grafana --role viewer --ttl 365d > token"
    )]
    Create {
        /// Who or what will use it; stands in the audit log
        #[arg(long, value_name = "NAME")]
        name: String,
        /// viewer looks; operator also publishes, runs commands on hosts (as root), lets hosts in and takes envoys out; admin also
        /// decides who may, and sets secrets
        #[arg(long, value_name = "ROLE", value_parser = ["viewer", "operator", "admin"])]
        role: String,
        /// How long it can be used
        #[arg(long, default_value = "90d", value_name = "DURATION")]
        ttl: String,
    },
    /// List tokens; the tokens themselves are stored nowhere
    List,
    /// Take a token back; it is refused from then on
    Revoke {
        /// As `list` shows it
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// The latest changes
    List {
        /// How many
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
    },
    /// Check that no entry was changed, taken out or put in: 0 when none was, 1 when one was
    Verify,
}

/// What is left until then, by this machine's clock.
fn left(until: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
    good_for(until.saturating_sub(now))
}

pub(super) fn token(server: &Connection, command: Token) -> Result<Shown, Failure> {
    match command {
        Token::Create { ttl, hostname } => {
            let json = server.post("/api/v1/tokens", &json!({ "ttl": ttl, "hostname": hostname }))?;
            let made: Created = typed(json.clone())?;
            let note = format!(
                "token {} for hosts that match `{}`, {}; it is shown this once
on the host:
  vigo enroll --server HOST:{} --token {} --ca-hash {}",
                made.about.id,
                plain(&made.about.hostname, 253),
                left(made.about.expires_at),
                made.port,
                plain(&made.token, 256),
                plain(&made.ca_hash, 64)
            );
            let human = format!("{}\n", plain(&made.token, 256));
            Ok(Shown { command: "token create", json, human, note: Some(note) })
        }
        Token::List => {
            let json = items(server.get("/api/v1/tokens", &[])?, "tokens");
            let tokens: Vec<TokenRow> = typed(json["tokens"].clone())?;
            let rows: Vec<[String; 4]> = tokens
                .iter()
                .map(|t| {
                    let last = match t.state.as_str() {
                        "open" => left(t.expires_at),
                        _ => t.used_by.clone().unwrap_or_default(),
                    };
                    [plain(&t.id, 64), plain(&t.state, 20), plain(&t.hostname, 253), plain(&last, 64)]
                })
                .collect();
            let human = table(["ID", "STATE", "HOSTS", ""], &rows);
            Ok(Shown { command: "token list", json, human, note: None })
        }
        Token::Revoke { id } => {
            let json = server.post(&format!("/api/v1/tokens/{}/revoke", part(&id)), &json!({}))?;
            let note = Some(format!("token {id} was revoked"));
            Ok(Shown { command: "token revoke", json, human: String::new(), note })
        }
    }
}

pub(super) fn api_token(server: &Connection, command: ApiToken) -> Result<Shown, Failure> {
    match command {
        ApiToken::Create { name, role, ttl } => {
            let json =
                server.post("/api/v1/api-tokens", &json!({ "name": name, "role": role, "ttl": ttl }))?;
            let made: ApiTokenCreated = typed(json.clone())?;
            let note = format!(
                "API token {} for `{}`, role {}, {}; it is shown this once",
                plain(&made.about.id, 64),
                plain(&made.about.name, 64),
                made.about.role.name(),
                left(made.about.expires_at)
            );
            let human = format!("{}\n", plain(&made.token, 256));
            Ok(Shown { command: "api-token create", json, human, note: Some(note) })
        }
        ApiToken::List => {
            let json = items(server.get("/api/v1/api-tokens", &[])?, "api_tokens");
            let tokens: Vec<ApiTokenRow> = typed(json["api_tokens"].clone())?;
            let rows: Vec<[String; 5]> = tokens
                .iter()
                .map(|t| {
                    let last = if t.state == "open" { left(t.expires_at) } else { String::new() };
                    let role = t.role.name().to_owned();
                    [plain(&t.id, 64), plain(&t.state, 20), role, plain(&t.name, 64), last]
                })
                .collect();
            let human = table(["ID", "STATE", "ROLE", "NAME", ""], &rows);
            Ok(Shown { command: "api-token list", json, human, note: None })
        }
        ApiToken::Revoke { id } => {
            let json = server.post(&format!("/api/v1/api-tokens/{}/revoke", part(&id)), &json!({}))?;
            let note = Some(format!("API token {id} was revoked"));
            Ok(Shown { command: "api-token revoke", json, human: String::new(), note })
        }
    }
}

/// A list under the name of what is in it.
fn items(mut page: Value, name: &str) -> Value {
    json!({ name: page["items"].take() })
}

pub(super) fn audit(server: &Connection, limit: usize) -> Result<Shown, Failure> {
    let entries = server.list("/api/v1/audit", &[], limit)?;
    let json = json!({ "entries": entries });
    let rows: Vec<Entry> = typed(json["entries"].clone())?;
    let rows: Vec<[String; 6]> = rows
        .iter()
        .map(|e| {
            let at = moment(e.at);
            let (actor, action) = (plain(&e.actor, 100), plain(&e.action, 40));
            [e.seq.to_string(), at, actor, action, plain(&e.subject, 253), plain(&e.details, 200)]
        })
        .collect();
    let human = table(["NR", "WHEN", "WHO", "WHAT", "TO WHAT", ""], &rows);
    Ok(Shown { command: "audit list", json, human, note: None })
}

/// Also whether the log is whole.
pub(super) fn verify(server: &Connection) -> Result<(Shown, bool), Failure> {
    let json = server.get("/api/v1/audit/verify", &[])?;
    let verdict: Verdict = typed(json.clone())?;
    let head = plain(verdict.head.as_deref().unwrap_or("none"), 64);
    let human = match verdict.broken_at {
        None => format!("whole: {} entries\nhead {head}\n", verdict.entries),
        Some(seq) => format!(
            "tampered with: entry {seq} is not what follows the {} before it\nlast good hash {head}\n",
            verdict.entries
        ),
    };
    let note = "keep the head elsewhere: it tells later whether the end of the log was cut off".to_owned();
    let note = verdict.valid.then_some(note);
    Ok((Shown { command: "audit verify", json, human, note }, verdict.valid))
}
