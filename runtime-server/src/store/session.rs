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
/// A server that could not be reached is not dialled again for this long: whoever waits is told at once, and the queue
/// does not fill up with those who ask again.
const PAUSE: Duration = Duration::from_secs(1);
/// What a server may spend on one statement and on waiting for others, and how long it keeps a transaction open that
/// nobody goes on with: nothing of ours takes nearly as long, but for [`Session::patient`] work.
const LIMITS: [&str; 3] = [
    "set lock_timeout = '10s'",
    "set statement_timeout = '60s'",
    "set idle_in_transaction_session_timeout = '60s'",
];
/// Prepared statements that a session keeps; the server has fewer texts than that.
const STATEMENTS: usize = 512;

/// A session; opened when it is first needed, and again when it was lost.
pub struct Session {
    settings: Postgres,
    client: Option<Client>,
    statements: HashMap<String, Statement>,
    used: Instant,
    /// When the server was last dialled in vain, and what came of it.
    failed: Option<(Instant, String)>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("open", &self.client.is_some()).finish_non_exhaustive()
    }
}

impl Session {
    /// Not opened yet.
    pub(super) fn new(settings: Postgres) -> Self {
        let (statements, used) = (HashMap::new(), Instant::now());
        Session { settings, client: None, statements, used, failed: None }
    }

    /// Makes sure that there is a session. To be called where nothing is under way.
    pub(super) fn awake(&mut self) -> Result<(), StoreError> {
        let rested = self.used.elapsed() > RESTED;
        let well = match &mut self.client {
            Some(client) => !client.is_closed() && (!rested || client.is_valid(ANSWER).is_ok()),
            None => false,
        };
        if !well {
            self.drop_client();
            if let Some((at, why)) = &self.failed
                && at.elapsed() < PAUSE
            {
                return Err(StoreError::Unreachable(why.clone()));
            }
            let client = connect(&self.settings);
            self.failed = match &client {
                Err(StoreError::Unreachable(why)) => Some((Instant::now(), why.clone())),
                _ => None,
            };
            self.client = Some(client?);
        }
        self.used = Instant::now();
        Ok(())
    }

    fn drop_client(&mut self) {
        self.statements.clear();
        self.client = None;
    }

    /// Lifts the limits on time until the transaction ends: for changes of the schema, which wait for everybody and
    /// may go through every row.
    pub(super) fn patient(&mut self) -> Result<(), StoreError> {
        self.batch("set local lock_timeout = 0; set local statement_timeout = 0")
    }

    /// A server that says it cannot be used, such as one that became a standby, says the same to the next one who asks
    /// on this connection: another connection may lead to another server.
    fn checked<T>(&mut self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Unreachable(_)) = &done {
            self.drop_client();
        }
        done
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
        let done = self.client().and_then(|client| Ok(client.batch_execute(sql)?));
        self.checked(done)
    }

    pub(super) fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        let done = self.execute_once(sql, params);
        self.checked(done)
    }

    fn execute_once(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
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
        let done = self.rows_once(sql, params, read);
        self.checked(done)
    }

    fn rows_once<T>(
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
    let mut client = match config.get_ssl_mode() {
        SslMode::Disable => config.connect(NoTls),
        _ => config.connect(MakeRustlsConnect::new(tls(settings)?)),
    }?;
    for limit in LIMITS {
        match client.batch_execute(limit).map_err(StoreError::from) {
            // Not everything that speaks the protocol knows all of them.
            Err(StoreError::Refused(why)) => tracing::debug!(why, "the database does not take `{limit}`"),
            done => done?,
        }
    }
    Ok(client)
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
        match listen_once(settings, topics, stop, &mut warned) {
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

/// `warned` is put back when there is somebody to listen to.
fn listen_once(
    settings: &Postgres,
    topics: &Topics,
    stop: &AtomicBool,
    warned: &mut bool,
) -> Result<(), StoreError> {
    let mut session = Session::new(settings.clone());
    session.awake()?;
    session.batch("listen vigo")?;
    let schema = session.rows("select current_schema()::text", &[], &|row| row.get::<String>(0))?;
    let prefix = format!("{}.", schema.first().map_or("", String::as_str));
    let client = session.client()?;
    if std::mem::take(warned) {
        tracing::info!("told again what other servers change");
    }
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
