//! Which database, and how to reach it.

use super::StoreError;
use crate::files;
use postgres::config::{Host, SslMode};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Which database. Shown without a password.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Postgres),
}

/// How to reach a PostgreSQL server.
#[derive(Clone, PartialEq, Eq)]
pub struct Postgres {
    /// `postgres://user@host:port/database?option=value`, perhaps with a password.
    pub url: String,
    /// PEM with the CAs that may certify the server; those of the system by default.
    pub ca: Option<PathBuf>,
    /// Holds the password; read for every connection, so that it can change.
    pub password_file: Option<PathBuf>,
}

impl Database {
    /// From a URL that starts with `postgres://` or `postgresql://`; `None` when it does not.
    pub fn postgres(url: &str) -> Option<Self> {
        (url.starts_with("postgres://") || url.starts_with("postgresql://"))
            .then(|| Database::Postgres(Postgres { url: url.to_owned(), ca: None, password_file: None }))
    }

    /// The file, when it is one.
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Database::Sqlite(path) => Some(path),
            Database::Postgres(_) => None,
        }
    }

    /// Whether it can be understood; it is not dialled.
    pub fn check(&self) -> Result<(), StoreError> {
        match self {
            Database::Sqlite(_) => Ok(()),
            Database::Postgres(postgres) => postgres.parse().map(drop),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Database::Sqlite(path) => write!(f, "{}", path.display()),
            Database::Postgres(postgres) => match postgres.parse() {
                Ok(config) => write!(f, "{}", place(&config)),
                Err(_) => f.write_str("postgres://"),
            },
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

fn place(config: &postgres::Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".into(),
    };
    let port = config.get_ports().first().map(|port| format!(":{port}")).unwrap_or_default();
    format!("postgres://{host}{port}/{}", config.get_dbname().unwrap_or_default())
}

impl Postgres {
    /// Without the password of the file.
    fn parse(&self) -> Result<postgres::Config, StoreError> {
        let wrong = |why: String| StoreError::Setting { key: "url", why };
        let mut config: postgres::Config = self.url.parse().map_err(|e: postgres::Error| {
            let cause = std::error::Error::source(&e).map(|cause| format!(": {cause}")).unwrap_or_default();
            wrong(format!("{e}{cause}; it looks like postgres://user@host:5432/vigo?sslmode=require"))
        })?;
        if config.get_user().is_none() {
            return Err(wrong("it names no user; it looks like postgres://user@host:5432/vigo".into()));
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(wrong("it names no host; it looks like postgres://user@host:5432/vigo".into()));
        }
        // What nobody decided: encrypted, unless it does not leave this machine. Where an address is given beside a name,
        // the address is what is dialled.
        if !decides_sslmode(&self.url, &config) {
            let leaves = !config.get_hosts().iter().all(is_local)
                || !config.get_hostaddrs().iter().all(IpAddr::is_loopback);
            let encrypted = self.ca.is_some() || leaves;
            config.ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable });
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        config.keepalives_idle(KEEP_ALIVE).tcp_user_timeout(KEEP_ALIVE).application_name("vigosrv");
        Ok(config)
    }

    /// Everything that a connection needs but TLS.
    pub(super) fn config(&self) -> Result<postgres::Config, StoreError> {
        let mut config = self.parse()?;
        if let Some(path) = &self.password_file {
            let password = files::read_text(path)
                .map_err(|e| StoreError::Setting { key: "password_file", why: e.to_string() })?;
            config.password(password.trim_end_matches(['\r', '\n']));
        }
        Ok(config)
    }

    /// PEM of the CAs, when they are given.
    pub(super) fn ca(&self) -> Result<Option<String>, StoreError> {
        let read = |path: &PathBuf| {
            files::read_text(path).map_err(|e| StoreError::Setting { key: "ca", why: e.to_string() })
        };
        self.ca.as_ref().map(read).transpose()
    }
}

/// Whether the URL has the option `sslmode`; a password or a name with that text in it decides nothing.
fn decides_sslmode(url: &str, config: &postgres::Config) -> bool {
    let behind_credentials = url.split_once('@').map_or(url, |(_, rest)| rest);
    let options = behind_credentials.split_once('?').map_or("", |(_, options)| options);
    // What the library takes when nobody says anything else.
    config.get_ssl_mode() != SslMode::Prefer || options.split('&').any(|o| o.starts_with("sslmode="))
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<postgres::Config, StoreError> {
        Postgres { url: url.into(), ca: None, password_file: None }.config()
    }

    #[test]
    fn what_leaves_the_machine_is_encrypted_unless_somebody_decided() {
        for (url, mode) in [
            ("postgres://vigo@db.example.com/vigo", SslMode::Require),
            ("postgres://vigo@db.example.com/vigo?sslmode=disable", SslMode::Disable),
            ("postgres://vigo@127.0.0.1:6543/vigo", SslMode::Disable),
            ("postgres://vigo@localhost/vigo?sslmode=require", SslMode::Require),
            ("postgres://vigo@%2Frun%2Fpostgresql/vigo", SslMode::Disable),
            ("postgres://vigo@/vigo?hostaddr=10.0.0.5", SslMode::Require),
            ("postgres://vigo@/vigo?hostaddr=127.0.0.1", SslMode::Disable),
            ("postgres://vigo@localhost/vigo?hostaddr=10.0.0.5", SslMode::Require),
            ("postgres://vigo@db.example.com/vigo?hostaddr=127.0.0.1", SslMode::Require),
            ("postgres://vigo@127.0.0.1,10.0.0.5/vigo", SslMode::Require),
            ("postgres://vigo:sslmode=prefer@db.example.com/vigo", SslMode::Require),
            ("postgres://vigo:a?sslmode=b@db.example.com/vigo", SslMode::Require),
            ("postgres://vigo@db.example.com/sslmode=x?application_name=sslmode=y", SslMode::Require),
            ("postgres://vigo@db.example.com/vigo?application_name=a&sslmode=prefer", SslMode::Prefer),
            ("postgres://vigo@db.example.com/vigo?ssl%6dode=prefer", SslMode::Require),
            ("postgres://vigo@db.example.com/vigo?ssl%6dode=disable", SslMode::Disable),
        ] {
            assert_eq!(parse(url).unwrap().get_ssl_mode(), mode, "{url}");
        }
    }

    #[test]
    fn case_090_the_password_is_never_shown() {
        let database = Database::postgres("postgres://vigo:hunter2@db:6543/vigo").unwrap();
        assert_eq!(format!("{database} {database:?}"), "postgres://db:6543/vigo postgres://db:6543/vigo");
        for bad in ["postgres://vigo:hunter2@db/vigo?sslmode=hunter2", "postgres://vigo:hunter2@db:x/vigo"] {
            let Database::Postgres(postgres) = Database::postgres(bad).unwrap() else { unreachable!() };
            let said = format!("{:?} {}", postgres, postgres.config().unwrap_err());
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(parse("postgres://db/vigo").unwrap_err().to_string().contains("no user"));
        assert!(parse("postgres://vigo@/vigo").unwrap_err().to_string().contains("no host"));
        let secret = Postgres {
            url: "postgres://vigo@localhost/vigo".into(),
            ca: Some("/nowhere/ca.pem".into()),
            password_file: Some("/nowhere/password".into()),
        };
        assert!(secret.config().unwrap_err().to_string().contains("`database.password_file`"));
        assert!(secret.ca().unwrap_err().to_string().contains("`database.ca`"));
    }
}
