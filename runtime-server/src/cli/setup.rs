//! Commands that set something up or take something away.

use super::{FINDING, Failure, INPUT, INTERNAL};
use crate::clock::Clock;
use crate::config::Config;
use crate::events::Webhook;
use crate::files;
use crate::identity::Identity;
use crate::pki;
use crate::secrets::{Backend, Secrets};
use crate::store::api_tokens::{self, Role};
use crate::store::audit::{self, Event};
use crate::store::{self, Connection, Database, StoreError, envoys, tokens};
use crate::telemetry;
use crate::text::{good_for, moment};
use std::path::Path;
use std::time::Duration;

pub(super) fn open(config: &Path) -> Result<(Config, Connection), Failure> {
    let config = Config::load(config)?;
    let conn = store::open(&config.database, false)?;
    Ok((config, conn))
}

pub(super) fn init(dir: &Path, hostnames: Vec<String>, database: Option<String>) -> Result<(), Failure> {
    let understood = |url: String| {
        let database = Database::postgres(&url).ok_or_else(|| {
            Failure::new(64, "--database is a PostgreSQL URL such as postgres://vigo@db.example.com/vigo")
        })?;
        database.check()?;
        Ok::<_, Failure>(database)
    };
    let database = database.map(understood).transpose()?;
    let hostnames = if hostnames.is_empty() { crate::init::default_hostnames() } else { hostnames };
    let made = crate::init::init(dir, &hostnames, database, &Clock::system())?;
    let config = made.config_file.display();
    anstream::println!("{}", made.ca_hash);
    anstream::eprintln!(
        "a server for {} was set up in {}
what stands alone on stdout is the CA hash; agents recognise the server by it

next:
  vigosrv run --config {config}
  vigosrv token create --config {config}
  vigosrv api-token create --config {config} --name NAME --role admin
then publish a policy with `vigocli publish DIR`, or put it into {}",
        hostnames.join(", "),
        dir.display(),
        made.config.policy_dir.display(),
    );
    Ok(())
}

/// Looks at all that `vigosrv run` reads before it serves, with the same eyes; and besides at what that goes on without.
pub(super) fn check_config(path: &Path) -> Result<(), Failure> {
    let config = Config::load(path)?;
    let mut wrong = Vec::new();
    let tls = &config.tls;
    let files = [&tls.ca, &tls.ca_key, &tls.certificate, &tls.key, &tls.signer, &tls.signer_key];
    for file in files.into_iter().chain(&config.signing_key_file) {
        if let Err(e) = files::read_text(file) {
            wrong.push(e.to_string());
        }
    }
    if wrong.is_empty() {
        let loaded = Identity::load(&config)
            .and_then(|identity| identity.check(&config.cluster_id, &Clock::system()).map(|()| identity));
        match loaded {
            Ok(identity) => {
                let secrets = Secrets::new(&config.secrets, identity.signer.secret_version_key());
                wrong.extend(secrets.err().map(|e| e.to_string()));
            }
            Err(e) => wrong.push(e.to_string()),
        }
    }
    wrong.extend(store::check(&config.database).err().map(|e| e.to_string()));
    if config.policy_watch && !config.policy_dir.is_dir() {
        wrong.push(format!("the policy {} is not a directory", config.policy_dir.display()));
    }
    if let Backend::Directory(dir) | Backend::Age { dir, .. } = &config.secrets
        && !dir.is_dir()
    {
        wrong.push(format!("`secrets.dir`: {} is not a directory", dir.display()));
    }
    if let Backend::Age { identity_file, .. } = &config.secrets
        && let Err(e) = files::read_text(identity_file)
    {
        wrong.push(format!("`secrets.identity_file`: {e}"));
    }
    if let Some(settings) = &config.webhook
        && let Err(e) = Webhook::new(settings.clone())
    {
        wrong.push(e.to_string());
    }
    if let Some(settings) = &config.telemetry
        && let Err(e) = telemetry::check(settings)
    {
        wrong.push(e.to_string());
    }
    if !wrong.is_empty() {
        return Err(Failure::new(INPUT, wrong.join("\nerror: ")));
    }
    anstream::eprintln!("{} is fine", path.display());
    Ok(())
}

pub(super) fn token(config: &Path, ttl: Duration, hostname: &str) -> Result<(), Failure> {
    if hostname.trim().is_empty() {
        return Err(Failure::new(64, "--hostname is empty; leave it out for a token that any host may use"));
    }
    let (config, mut conn) = open(config)?;
    let mut random = [0; 20];
    getrandom::fill(&mut random).map_err(|e| Failure::new(INTERNAL, e))?;
    let now = Clock::system().now();
    let (token, row) = conn.transaction(|conn| {
        let made = tokens::create(conn, random, hostname, now, ttl.as_millis() as u64)?;
        let details = format!("hosts {}, until {}", made.1.hostname_glob, moment(made.1.expires_at));
        audit::append(conn, &Event::new(now, &actor(), "token.create", &made.1.id, &details))?;
        Ok(made)
    })?;
    let certificate = files::read_text(&config.tls.ca).map_err(|e| Failure::new(INPUT, e))?;
    let hash = pki::read_certificate("the CA's certificate", &certificate)
        .ok()
        .and_then(|der| protocol::ca_hash(&der))
        .ok_or_else(|| Failure::new(INPUT, "the CA's certificate is not readable"))?;
    anstream::println!("{token}");
    anstream::eprintln!(
        "token {} for hosts that match `{}`, {}; it is shown this once
on the host:
  vigo enroll --server HOST:{} --token {token} --ca-hash {hash}",
        row.id,
        row.hostname_glob,
        good_for(ttl.as_millis() as u64),
        config.listen_grpc.port(),
    );
    Ok(())
}

pub(super) fn revoke_token(config: &Path, id: &str) -> Result<(), Failure> {
    let (_, mut conn) = open(config)?;
    if !recorded(&mut conn, "token.revoke", id, |conn, now| tokens::revoke(conn, id, now))? {
        return Err(Failure::new(FINDING, format!("there is no token `{id}` that could still be used")));
    }
    anstream::eprintln!("token {id} was revoked");
    Ok(())
}

pub(super) fn revoke_envoy(config: &Path, host: &str) -> Result<(), Failure> {
    let (_, mut conn) = open(config)?;
    if !recorded(&mut conn, "envoy.revoke", host, |conn, now| envoys::revoke(conn, host, now))? {
        return Err(Failure::new(FINDING, format!("there is no active envoy `{host}`")));
    }
    anstream::eprintln!("{host} was revoked; a running server turns it away within seconds");
    Ok(())
}

pub(super) fn api_token(config: &Path, name: &str, role: &str, ttl: Duration) -> Result<(), Failure> {
    let role = Role::named(role).ok_or_else(|| Failure::new(64, "--role is viewer, operator or admin"))?;
    api_tokens::check_name(name).map_err(|_| {
        Failure::new(64, "--name says what the token is for, in 1 to 64 characters on one line")
    })?;
    let (_, mut conn) = open(config)?;
    let mut random = [0; 20];
    getrandom::fill(&mut random).map_err(|e| Failure::new(INTERNAL, e))?;
    let (now, ttl) = (Clock::system().now(), ttl.as_millis() as u64);
    let (token, row) = conn.transaction(|conn| {
        let made = api_tokens::create(conn, random, name, role, now, ttl)?;
        let details = format!("{name}, role {}, until {}", role.name(), moment(made.1.expires_at));
        audit::append(conn, &Event::new(now, &actor(), "api-token.create", &made.1.id, &details))?;
        Ok(made)
    })?;
    anstream::println!("{token}");
    anstream::eprintln!(
        "API token {} for `{name}`, role {}, {}; it is shown this once",
        row.id,
        role.name(),
        good_for(ttl)
    );
    Ok(())
}

pub(super) fn revoke_api_token(config: &Path, id: &str) -> Result<(), Failure> {
    let (_, mut conn) = open(config)?;
    if !recorded(&mut conn, "api-token.revoke", id, |conn, now| api_tokens::revoke(conn, id, now))? {
        return Err(Failure::new(
            FINDING,
            format!("there is no API token `{id}` that is not revoked already"),
        ));
    }
    anstream::eprintln!("API token {id} was revoked");
    Ok(())
}

/// Does something, and writes down that it was done when it was.
fn recorded(
    conn: &mut Connection,
    action: &str,
    subject: &str,
    work: impl Fn(&mut Connection, u64) -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    let (now, actor) = (Clock::system().now(), actor());
    conn.transaction(|conn| {
        let done = work(conn, now)?;
        if done {
            audit::append(conn, &Event::new(now, &actor, action, subject, ""))?;
        }
        Ok(done)
    })
}

/// Who works on the server's machine, as far as the environment tells, and the number of the account where it does not: for
/// the audit log, and no proof.
pub(super) fn actor() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    match name.filter(|name| !name.trim().is_empty()) {
        Some(name) => format!("local {}", crate::text::plain(&name, 64)),
        None => format!("local uid {}", nix::unistd::getuid()),
    }
}

pub(super) fn backup(config: &Path, file: &Path) -> Result<(), Failure> {
    let database = Config::load(config)?.database;
    if let Database::Postgres(_) = database {
        return Err(store::no_backup().into());
    }
    if file.exists() {
        return Err(Failure::new(FINDING, format!("{} exists already; nothing was written", file.display())));
    }
    let mut conn = store::open(&database, false)?;
    // SQLite fills an empty file, which has its mode from the first moment on.
    files::write_new(file, 0o600, b"").map_err(|e| Failure::new(INPUT, e))?;
    store::backup(&mut conn, file)?;
    anstream::eprintln!(
        "the database was copied to {}; the keys, the secrets and the configuration are not in it",
        file.display()
    );
    Ok(())
}
