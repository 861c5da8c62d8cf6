//! What must survive: a SQLite file, or a PostgreSQL database that several servers share.
//!
//! [`open`] gives a [`Connection`] to whoever has a thread to block (the command line); the server hands closures
//! to a [`Store`]. The functions of the submodules take a connection and run in one transaction each; called
//! inside of [`Connection::transaction`] they become a part of it.

pub mod api_tokens;
pub mod audit;
pub mod certificates;
mod connection;
mod database;
pub mod envoys;
mod error;
pub mod events;
pub mod meta;
pub mod pushes;
pub mod releases;
pub mod runs;
pub mod samples;
mod schema;
pub mod seen;
pub mod servers;
mod session;
mod sqlite;
pub mod tasks;
pub mod tokens;
mod topics;
pub mod value;
pub mod workflows;

pub use connection::Connection;
pub use database::{Database, Postgres};
pub use error::StoreError;
pub use topics::Topic;

use crate::telemetry::span;
use connection::Backend;
use std::fmt;
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use topics::Topics;
use tracing::Instrument;

/// Threads that read a SQLite file beside the one that writes.
const SQLITE_READERS: usize = 2;
/// Sessions with a PostgreSQL server, and a thread for each.
const POSTGRES_SESSIONS: usize = 8;
/// Jobs that wait for a thread. More of them come only when the database does not keep up, and then it is better to say
/// so than to answer everybody too late.
const WAITING: usize = 1024;
/// How often a SQLite file is asked whether another process has written.
const LOOK: Duration = Duration::from_millis(500);

/// Opens the database, checks it and brings its schema up to date. Creates it only when `create` is set; a
/// PostgreSQL database has to be there, and gets its tables.
pub fn open(database: &Database, create: bool) -> Result<Connection, StoreError> {
    let mut conn = match database {
        Database::Sqlite(path) => sqlite::open(path, create)?,
        Database::Postgres(settings) => session::connection(settings),
    };
    schema::migrate(&mut conn, database, create)?;
    Ok(conn)
}

/// Whether [`open`] would open it, as far as that can be said without a change to it: a SQLite file is looked at whole, of a
/// PostgreSQL database only how to reach it.
pub fn check(database: &Database) -> Result<(), StoreError> {
    match database {
        Database::Sqlite(path) => schema::check(&mut sqlite::look(path)?, database),
        Database::Postgres(settings) => settings.config().and(settings.ca()).map(drop),
    }
}

/// Copies a SQLite database into an empty file, also while a server uses it.
pub fn backup(conn: &mut Connection, to: &Path) -> Result<(), StoreError> {
    let Backend::Sqlite(conn) = &conn.backend else { return Err(no_backup()) };
    let path = to.to_str().ok_or_else(|| StoreError::Refused("the file's name is not UTF-8".into()))?;
    conn.execute("vacuum into ?", [path])?;
    Ok(())
}

/// What there is instead where [`backup`] has nothing to copy.
pub fn no_backup() -> StoreError {
    StoreError::SqliteOnly(
        "`vigosrv backup` copies SQLite files; for PostgreSQL there is pg_dump: \
         `pg_dump --format=custom --file=vigo.dump URL`, with the URL of `database.url`",
    )
}

/// Whether the database answers.
pub fn ping(conn: &mut Connection) -> Result<(), StoreError> {
    conn.exists("select 1", &[]).map(drop)
}

/// How large the database is, in bytes.
pub fn size(conn: &mut Connection) -> Result<Option<u64>, StoreError> {
    let sql = match conn.backend {
        Backend::Sqlite(_) => "select page_count * page_size from pragma_page_count(), pragma_page_size()",
        Backend::Postgres(_) => "select pg_database_size(current_database())",
    };
    conn.value(sql, &[])
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A queue, and the threads that work on it.
struct Lane {
    jobs: Mutex<Option<SyncSender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Lane {
    fn start(workers: Vec<Worker>) -> Lane {
        let (jobs, queue) = sync_channel::<Job>(WAITING);
        let queue = Arc::new(Mutex::new(queue));
        let threads = workers.into_iter().map(|worker| {
            let queue = queue.clone();
            std::thread::spawn(move || worker.run(&queue))
        });
        Lane { threads: Mutex::new(threads.collect()), jobs: Mutex::new(Some(jobs)) }
    }

    fn put(&self, job: Job) -> Result<(), StoreError> {
        let jobs = lock(&self.jobs);
        let jobs = jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.try_send(job).map_err(|e| match e {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => StoreError::Closed,
        })
    }

    fn close(&self) {
        lock(&self.jobs).take();
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            let _ = thread.join();
        }
    }
}

/// A connection on a thread of its own.
struct Worker {
    conn: Connection,
    /// Told when another process has written; only where nobody else says so.
    look: Option<Arc<Topics>>,
}

impl Worker {
    fn run(mut self, queue: &Mutex<Receiver<Job>>) {
        let mut looked = Instant::now();
        let mut version = 0;
        loop {
            let job = match &self.look {
                Some(_) => lock(queue).recv_timeout(LOOK.saturating_sub(looked.elapsed())),
                None => lock(queue).recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match job {
                Ok(job) => {
                    let done = std::panic::catch_unwind(AssertUnwindSafe(|| job(&mut self.conn)));
                    if done.is_err() {
                        tracing::error!("work on the database crashed; it was taken back");
                        self.conn.abandon();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if looked.elapsed() < LOOK {
                continue;
            }
            looked = Instant::now();
            if let (Some(topics), Backend::Sqlite(conn)) = (&self.look, &self.conn.backend) {
                match sqlite::version(conn) {
                    Ok(now) if now != version => {
                        version = now;
                        topics.say_all();
                    }
                    Ok(_) => {}
                    Err(e) => tracing::error!(error = %e, "cannot see whether another process has written"),
                }
            }
        }
    }
}

/// The database of a running server: closures go in, their results come out, and nobody's thread is blocked.
pub struct Store {
    write: Lane,
    /// None where every connection may do everything.
    read: Option<Lane>,
    topics: Arc<Topics>,
    deaf: Arc<AtomicBool>,
    /// Keeps other servers off a SQLite file.
    claim: Mutex<Option<File>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database as [`open`] does. A SQLite file is this server's alone until [`close`](Self::close): two
    /// would retire each other's signing keys, and each would miss what the other one knows in memory.
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        let (done, opened) = oneshot::channel();
        let database = database.clone();
        // A thread of ours, because a session with PostgreSQL must not be opened on one of the runtime.
        std::thread::spawn(move || {
            let _ = done.send(Self::start(&database));
        });
        opened.await.map_err(|_| StoreError::Crashed)?
    }

    fn start(database: &Database) -> Result<Self, StoreError> {
        let claim = database.file().map(|path| sqlite::claim(path)).transpose()?;
        let mut first = open(database, false)?;
        let topics = Arc::new(Topics::default());
        let deaf = Arc::new(AtomicBool::new(false));
        first.tell(topics.clone());
        let (write, read) = match database {
            Database::Sqlite(path) => {
                let writer = Worker { conn: first, look: Some(topics.clone()) };
                let readers = (0..SQLITE_READERS)
                    .map(|_| Ok(Worker { conn: sqlite::reader(path)?, look: None }))
                    .collect::<Result<Vec<_>, StoreError>>()?;
                (Lane::start(vec![writer]), Some(Lane::start(readers)))
            }
            Database::Postgres(settings) => {
                let others = (1..POSTGRES_SESSIONS).map(|_| session::connection(settings));
                let workers = std::iter::once(first).chain(others).map(|conn| Worker { conn, look: None });
                let (settings, topics, deaf) = (settings.clone(), topics.clone(), deaf.clone());
                std::thread::spawn(move || session::listen(&settings, &topics, &deaf));
                (Lane::start(workers.collect()), None)
            }
        };
        Ok(Store { write, read, topics, deaf, claim: Mutex::new(claim) })
    }

    /// Runs `work`, unless its caller has given up before its turn came. On SQLite all that writes is done one after
    /// the other, in the order in which it was handed over.
    pub async fn call<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        Self::run(&self.write, work).instrument(span!("database", operation = "write")).await
    }

    /// Runs `work` that only reads; on SQLite beside what writes.
    pub async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let lane = self.read.as_ref().unwrap_or(&self.write);
        Self::run(lane, work).instrument(span!("database", operation = "read")).await
    }

    async fn run<T, F>(lane: &Lane, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        lane.put(Box::new(move |conn| {
            // Nobody was told that it is done; and whoever asked again has another job in the queue.
            if !done.is_closed() {
                let _ = done.send(work(conn));
            }
        }))?;
        // The lane finishes what it took on, so an answer that never comes is that of a panic.
        answer.await.map_err(|_| StoreError::Crashed)?
    }

    /// Counts changes that this server or another process has made; see [`Topic`]. Something may have changed
    /// before the first one is counted.
    pub fn watch(&self, topic: Topic) -> watch::Receiver<u64> {
        self.topics.watch(topic)
    }

    /// Finishes what was handed over and closes the database. Blocks.
    pub fn close(&self) {
        self.deaf.store(true, Ordering::Relaxed);
        self.write.close();
        if let Some(read) = &self.read {
            read.close();
        }
        lock(&self.claim).take();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.deaf.store(true, Ordering::Relaxed);
    }
}

/// A lock whose holder panicked still guards consistent data here: no critical section of this crate leaves
/// one half-written.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Integers of both databases are signed.
pub(crate) fn int(what: &'static str, number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Range(what))
}

#[cfg(test)]
mod tests;
