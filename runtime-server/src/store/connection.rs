//! One connection, to whichever database, and the same words for both.
//!
//! Statements are written once. They use `$1`, `$2` for values, and only what both databases understand: numbers are
//! 64-bit, flags are 0 and 1, `on conflict` names its columns. Transactions on PostgreSQL see what others commit
//! meanwhile, so a transaction that reads and then writes first locks what it depends on, with an `update ...
//! returning` of the row that owns it; that is the same statement on SQLite, where one transaction runs at a time.

use super::StoreError;
use super::session::Session;
use super::topics::{Topic, Topics};
use super::value::params;
use super::value::{Column, Param, Row};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// Transactions that cross are tried again this often.
const TRIES: u32 = 10;
/// Rows that one statement inserts on PostgreSQL; few sizes, because every size is a statement to prepare.
const BATCHES: [usize; 3] = [64, 8, 1];

/// A connection. Blocks, and on PostgreSQL must neither be used nor dropped on a thread of an async runtime: the
/// server hands its work to a [`Store`](super::Store).
#[derive(Debug)]
pub struct Connection {
    pub(super) backend: Backend,
    depth: u32,
    /// A statement of the transaction failed; then it is not committed, whatever its author made of the error.
    failed: bool,
    topics: Option<Arc<Topics>>,
    pending: Vec<Topic>,
}

#[derive(Debug)]
pub(super) enum Backend {
    Sqlite(rusqlite::Connection),
    Postgres(Box<Session>),
}

impl Connection {
    pub(super) fn new(backend: Backend) -> Self {
        Connection { backend, depth: 0, failed: false, topics: None, pending: Vec::new() }
    }

    pub(super) fn tell(&mut self, topics: Arc<Topics>) {
        self.topics = Some(topics);
    }

    /// Lets the rest of the transaction take as long as it takes.
    pub(super) fn patient(&mut self) -> Result<(), StoreError> {
        match &mut self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(session) => session.patient(),
        }
    }

    /// Whether several servers can use this database.
    pub fn is_shared(&self) -> bool {
        matches!(self.backend, Backend::Postgres(_))
    }

    /// Runs a statement; how many rows it changed.
    pub fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        self.statement(|backend| match backend {
            Backend::Sqlite(conn) => {
                let changed = conn.prepare_cached(&numbered(sql))?.execute(given(params))?;
                Ok(changed as u64)
            }
            Backend::Postgres(session) => session.execute(sql, params),
        })
    }

    /// Runs a statement and reads every row.
    pub fn rows<T>(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        read: impl Fn(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.statement(|backend| match backend {
            Backend::Sqlite(conn) => {
                let mut statement = conn.prepare_cached(&numbered(sql))?;
                let mut rows = statement.query(given(params))?;
                let mut out = Vec::new();
                while let Some(row) = rows.next()? {
                    out.push(read(Row::Sqlite(row))?);
                }
                Ok(out)
            }
            Backend::Postgres(session) => session.rows(sql, params, &read),
        })
    }

    /// Runs a statement and reads its first row.
    pub fn row<T>(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        read: impl Fn(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.rows(sql, params, read)?.into_iter().next())
    }

    /// The first column of the first row.
    pub fn value<T: Column>(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Option<T>, StoreError> {
        self.row(sql, params, |row| row.get(0))
    }

    /// Whether there is a row.
    pub fn exists(&mut self, sql: &str, params: &[Param<'_>]) -> Result<bool, StoreError> {
        Ok(self.row(sql, params, |_| Ok(()))?.is_some())
    }

    /// Inserts rows of `width` values: `insert` is the statement up to and without `values`, `after` what follows
    /// them. Every row costs a statement on SQLite, and a part of one on PostgreSQL, where a statement is a journey.
    pub fn insert(
        &mut self,
        insert: &str,
        width: usize,
        after: &str,
        values: &[Param<'_>],
    ) -> Result<(), StoreError> {
        self.batches(width, values, |rows| {
            let places: Vec<String> = (0..rows)
                .map(|row| {
                    let places: Vec<String> = (1..=width).map(|n| format!("${}", row * width + n)).collect();
                    format!("({})", places.join(", "))
                })
                .collect();
            format!("{insert} values {} {after}", places.join(", "))
        })
    }

    /// Updates with rows of values of these types: `update` is the statement up to and without `from`, `which` its
    /// condition. The values are `v.column1`, `v.column2` and so on.
    pub fn update_from(
        &mut self,
        update: &str,
        types: &[&str],
        which: &str,
        values: &[Param<'_>],
    ) -> Result<(), StoreError> {
        let width = types.len();
        self.batches(width, values, |rows| {
            let places: Vec<String> = (0..rows)
                .map(|row| {
                    let places = types.iter().enumerate();
                    let places: Vec<String> =
                        places.map(|(n, ty)| format!("cast(${} as {ty})", row * width + n + 1)).collect();
                    format!("({})", places.join(", "))
                })
                .collect();
            format!("{update} from (values {}) as v {which}", places.join(", "))
        })
    }

    fn batches(
        &mut self,
        width: usize,
        values: &[Param<'_>],
        sql: impl Fn(usize) -> String,
    ) -> Result<(), StoreError> {
        let sizes = match self.backend {
            Backend::Sqlite(_) => &BATCHES[2..],
            Backend::Postgres(_) => &BATCHES[..],
        };
        let mut left = values;
        for rows in sizes {
            let size = rows * width.max(1);
            if left.len() < size {
                continue;
            }
            let sql = sql(*rows);
            let batches = left.chunks_exact(size);
            left = batches.remainder();
            for batch in batches {
                self.execute(&sql, batch)?;
            }
        }
        Ok(())
    }

    /// Says, when the transaction is committed, that something changed; see [`Topic`].
    pub fn say(&mut self, topic: Topic) -> Result<(), StoreError> {
        match self.backend {
            Backend::Sqlite(_) if self.depth == 0 => {
                self.pending.push(topic);
                self.deliver();
            }
            Backend::Sqlite(_) => self.pending.push(topic),
            Backend::Postgres(_) => {
                let said = "select pg_notify('vigo', current_schema() || '.' || $1)";
                self.rows(said, params![topic.name()], |_| Ok(()))?;
            }
        }
        Ok(())
    }

    /// Runs `work` in a transaction, again when it crossed another one, and commits unless it fails. Inside of
    /// another transaction it becomes a part of that one.
    pub fn transaction<T>(
        &mut self,
        mut work: impl FnMut(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.attempt(|conn| work(conn).map(Ok::<T, Infallible>))? {
            Ok(value) => Ok(value),
            Err(never) => match never {},
        }
    }

    /// As [`transaction`](Self::transaction), for work that may find that it must not be done: then everything it did
    /// is taken back.
    pub fn attempt<T, E>(
        &mut self,
        mut work: impl FnMut(&mut Connection) -> Result<Result<T, E>, StoreError>,
    ) -> Result<Result<T, E>, StoreError> {
        if self.depth > 0 {
            return self.once(&mut work);
        }
        let mut tries = 1;
        loop {
            match self.once(&mut work) {
                Err(StoreError::Crossed) if tries < TRIES => wait_a_little(tries),
                Err(StoreError::Crossed) => return Err(StoreError::Busy),
                done => return done,
            }
            tries += 1;
        }
    }

    fn once<T, E>(
        &mut self,
        work: &mut impl FnMut(&mut Connection) -> Result<Result<T, E>, StoreError>,
    ) -> Result<Result<T, E>, StoreError> {
        let outer = self.depth;
        let said = self.pending.len();
        if outer == 0 {
            self.awake()?;
            self.failed = false;
            self.plain(match self.backend {
                Backend::Sqlite(_) => "begin immediate",
                Backend::Postgres(_) => "begin",
            })?;
        } else {
            self.plain(&format!("savepoint s{outer}"))?;
        }
        self.depth = outer + 1;
        let done = work(self);
        self.depth = outer;
        let keep = match &done {
            Ok(Ok(_)) if self.failed => {
                Err(StoreError::Refused("a statement of the transaction failed".into()))
            }
            Ok(Ok(_)) => Ok(true),
            _ => Ok(false),
        };
        match keep {
            Ok(true) => {
                let commit =
                    if outer == 0 { "commit".to_owned() } else { format!("release savepoint s{outer}") };
                let committed = self.plain(&commit);
                if outer == 0 {
                    if committed.is_err() {
                        self.roll_back();
                    }
                    self.deliver();
                }
                committed.and(done)
            }
            keep => {
                self.pending.truncate(said);
                if outer == 0 {
                    self.roll_back();
                } else if !self.failed {
                    self.plain(&format!("rollback to savepoint s{outer}"))?;
                }
                keep.and(done)
            }
        }
    }

    /// Takes back whatever is open; its author is gone.
    pub(super) fn abandon(&mut self) {
        self.roll_back();
        self.depth = 0;
    }

    fn roll_back(&mut self) {
        self.pending.clear();
        // When it fails, then because nothing is open any more: SQLite rolls back by itself when the disk is full,
        // PostgreSQL when the connection is gone.
        let _ = self.plain("rollback");
    }

    fn deliver(&mut self) {
        for topic in std::mem::take(&mut self.pending) {
            if let Some(topics) = &self.topics {
                topics.say(topic);
            }
        }
    }

    fn plain(&mut self, sql: &str) -> Result<(), StoreError> {
        match &mut self.backend {
            Backend::Sqlite(conn) => Ok(conn.execute_batch(sql)?),
            Backend::Postgres(session) => session.batch(sql),
        }
    }

    /// Statements that take no values and are not worth keeping: the schema.
    pub(super) fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        let done = self.plain(sql);
        self.failed |= done.is_err();
        done
    }

    fn awake(&mut self) -> Result<(), StoreError> {
        match &mut self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(session) => session.awake(),
        }
    }

    fn statement<T>(
        &mut self,
        mut run: impl FnMut(&mut Backend) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.depth > 0 {
            let done = run(&mut self.backend);
            self.failed |= done.is_err();
            return done;
        }
        self.awake()?;
        for tries in 1..TRIES {
            match run(&mut self.backend) {
                Err(StoreError::Crossed) => wait_a_little(tries),
                done => return done,
            }
        }
        Err(StoreError::Busy)
    }
}

/// `$1` is the name of a value on SQLite, counted by where it is seen first; `?1` is its number.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

fn given<'a>(params: &'a [Param<'a>]) -> impl rusqlite::Params + 'a {
    rusqlite::params_from_iter(params.iter())
}

/// Longer after every try, and never as long as those that it crossed.
fn wait_a_little(tries: u32) {
    let mut random = [0];
    // Without random bytes they cross once more.
    let _ = getrandom::fill(&mut random);
    std::thread::sleep(Duration::from_micros(u64::from(tries) * (500 + u64::from(random[0]) * 20)));
}
