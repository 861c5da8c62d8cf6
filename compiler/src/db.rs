//! The incremental database shared by the command line, the server and the language server.
#![allow(missing_docs, reason = "salsa generates constructors and getters without docs")]

use std::sync::{Arc, Mutex, PoisonError};

/// What was read of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// UTF-8.
    Text(Arc<str>),
    /// Anything else.
    Bytes(Arc<[u8]>),
    /// It could not be read, and why.
    Unreadable(String),
    /// Larger than the limit; its size in bytes.
    TooLarge(u64),
    /// A symlink that leaves the policy.
    LeavesRoot,
}

/// One file of a policy.
#[salsa::input(debug)]
pub struct SourceFile {
    /// Relative to the root, with `/`.
    #[returns(ref)]
    pub path: Arc<str>,
    /// What it holds.
    #[returns(ref)]
    pub content: Content,
}

/// All files of a policy, sorted by path. An input of its own, so that only queries that go over files
/// depend on which files there are.
#[salsa::input(singleton, debug)]
pub struct Project {
    /// Sorted by path.
    #[returns(ref)]
    pub files: Vec<SourceFile>,
}

/// What queries run on.
#[salsa::db]
pub trait Db: salsa::Database {}

/// The database. A clone is a snapshot: a write waits until every clone is dropped.
#[salsa::db]
#[derive(Clone)]
pub struct RootDb {
    storage: salsa::Storage<Self>,
    log: Arc<Mutex<Option<Recorded>>>,
}

/// What queries did while they were recorded.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// Those that ran, as salsa prints them.
    pub ran: Vec<String>,
    /// How many were found to be as they were, whatever they rest on.
    pub kept: usize,
}

#[salsa::db]
impl salsa::Database for RootDb {}
#[salsa::db]
impl Db for RootDb {}

impl Default for RootDb {
    fn default() -> Self {
        RootDb { storage: salsa::Storage::new(None), log: Arc::default() }
    }
}

impl RootDb {
    /// A database that can [`RootDb::record`] which queries run; a little slower.
    pub fn recording() -> Self {
        let log = Arc::<Mutex<Option<Recorded>>>::default();
        let sink = Arc::clone(&log);
        let on_event = move |event: salsa::Event| {
            let mut log = sink.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(log) = log.as_mut() else { return };
            match event.kind {
                salsa::EventKind::WillExecute { database_key } => log.ran.push(format!("{database_key:?}")),
                salsa::EventKind::DidValidateMemoizedValue { .. } => log.kept += 1,
                _ => {}
            }
        };
        RootDb { storage: salsa::Storage::new(Some(Box::new(on_event))), log }
    }

    /// Starts to record which queries run.
    pub fn record(&self) {
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = Some(Recorded::default());
    }

    /// Ends recording: what the queries did since.
    pub fn recorded(&self) -> Recorded {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

impl std::fmt::Debug for RootDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RootDb").finish_non_exhaustive()
    }
}
