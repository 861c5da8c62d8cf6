//! A session with a PostgreSQL server, and the ear that listens to it.

use super::database::Postgres;
use super::topics::{Topic, Topics};
use super::value::{Param, Row};
use super::{Connection, StoreError, connection::Backend};
use postgres::config::SslMode;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::ToSql;
use postgres::{Client, NoTls, Statement};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A session that rested this long is asked whether it is still there before it is relied on.
const RESTED: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(5);
/// Prepared statements that a session keeps; the server has fewer texts than that.
const STATEMENTS: usize = 512;

/// A session; opened when it is first needed, and again when it was lost.
pub struct Session {
    settings: Postgres,
    client: Option<Client>,
    statements: HashMap<String, Statement>,
    used: Instant,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("open", &self.client.is_some()).finish_non_exhaustive()
    }
}

impl Session {
    /// Not opened yet.
    pub(super) fn new(settings: Postgres) -> Self {
        Session { settings, client: None, statements: HashMap::new(), used: Instant::now() }
    }

    /// Makes sure that there is a session. To be called where nothing is under way.
    pub(super) fn awake(&mut self) -> Result<(), StoreError> {
        let rested = self.used.elapsed() > RESTED;
        let well = match &mut self.client {
            Some(client) => !client.is_closed() && (!rested || client.is_valid(ANSWER).is_ok()),
            None => false,
        };
        if !well {
            self.statements.clear();
            self.client = None;
            self.client = Some(connect(&self.settings)?);
        }
        self.used = Instant::now();
        Ok(())
    }

    fn client(&mut self) -> Result<&mut Client, StoreError> {
        self.client.as_mut().ok_or_else(|| StoreError::Unreachable("the connection was lost".into()))
    }

    fn prepared(&mut self, sql: &str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        if self.statements.len() >= STATEMENTS {
            self.statements.clear();
        }
        let statement = self.client()?.prepare(sql)?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    pub(super) fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        Ok(self.client()?.batch_execute(sql)?)
    }

    pub(super) fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        let statement = self.prepared(sql)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as _).collect();
        Ok(self.client()?.execute(&statement, &params)?)
    }

    pub(super) fn rows<T>(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        read: &impl Fn(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let statement = self.prepared(sql)?;
        let params = params.iter().map(|p| p as &(dyn ToSql + Sync));
        let mut rows = self.client()?.query_raw(&statement, params)?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            out.push(read(Row::Postgres(&row))?);
        }
        Ok(out)
    }
}

fn connect(settings: &Postgres) -> Result<Client, StoreError> {
    let config = settings.config()?;
    let client = match config.get_ssl_mode() {
        SslMode::Disable => config.connect(NoTls),
        _ => config.connect(MakeRustlsConnect::new(tls(settings)?)),
    };
    Ok(client?)
}

fn tls(settings: &Postgres) -> Result<ClientConfig, StoreError> {
    let wrong = |why: String| StoreError::Setting { key: "ca", why };
    let mut roots = RootCertStore::empty();
    match settings.ca()? {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|e| wrong(format!("not PEM certificates: {e}")))?;
                roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(wrong("there is no certificate to know the server by".into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong(e.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// How long the ear waits between two looks at whether it is still wanted.
const EAR: Duration = Duration::from_millis(500);
/// How long it waits before it tries again to be told, and how often it then says everything changed.
const DEAF: Duration = Duration::from_secs(2);

/// Hears what other servers say, until `stop`. A server that cannot be listened to (not all that speak the protocol
/// do that) is looked at every two seconds.
pub(super) fn listen(settings: &Postgres, topics: &Topics, stop: &AtomicBool) {
    let mut warned = false;
    while !stop.load(Ordering::Relaxed) {
        match listen_once(settings, topics, stop) {
            Ok(()) => return,
            Err(e) if !warned => {
                warned = true;
                tracing::warn!(error = %e, "not told what other servers change; looking every two seconds");
            }
            Err(_) => {}
        }
        std::thread::sleep(DEAF);
        // What was said meanwhile was not heard.
        topics.say_all();
    }
}

fn listen_once(settings: &Postgres, topics: &Topics, stop: &AtomicBool) -> Result<(), StoreError> {
    let mut session = Session::new(settings.clone());
    session.awake()?;
    session.batch("listen vigo")?;
    let schema = session.rows("select current_schema()::text", &[], &|row| row.get::<String>(0))?;
    let prefix = format!("{}.", schema.first().map_or("", String::as_str));
    let client = session.client()?;
    topics.say_all();
    while !stop.load(Ordering::Relaxed) {
        {
            let mut notifications = client.notifications();
            let mut heard = notifications.timeout_iter(EAR);
            while let Some(notification) = heard.next()? {
                if let Some(topic) = notification.payload().strip_prefix(&prefix).and_then(Topic::named) {
                    topics.say(topic);
                }
            }
        }
        if client.is_closed() {
            return Err(StoreError::Unreachable("the connection was lost".into()));
        }
    }
    Ok(())
}

/// A connection that dials when it is first used.
pub(super) fn connection(settings: &Postgres) -> Connection {
    Connection::new(Backend::Postgres(Box::new(Session::new(settings.clone()))))
}
