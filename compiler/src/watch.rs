//! Tells when a directory tree changed: at once where the system says so, otherwise by looking again and again.

use notify::{EventKind, RecursiveMode, Watcher as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// An editor saves in several steps; they are taken as one.
pub const QUIET: Duration = Duration::from_millis(80);
/// Network file systems say nothing: it is looked at now and then in any case.
const POLL: Duration = Duration::from_secs(60);
/// When the directory cannot be watched at all.
const POLL_ALONE: Duration = Duration::from_secs(2);

/// Stops to watch when it is dropped.
pub type Watcher = notify::RecommendedWatcher;

/// Calls `tell` whenever something below `dir` may have changed; reading is no change. It is called on a thread of its
/// own and must not block.
pub fn watch(dir: &Path, tell: impl Fn() + Send + 'static) -> notify::Result<Watcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let reading = |e: &notify::Event| matches!(e.kind, EventKind::Access(_));
        if !event.as_ref().is_ok_and(reading) {
            tell();
        }
    })?;
    watcher.watch(dir, RecursiveMode::Recursive)?;
    Ok(watcher)
}

/// A watched tree, for a thread that has nothing else to do.
#[derive(Debug)]
pub struct Watch {
    changes: Receiver<()>,
    watcher: Option<Watcher>,
}

impl Watch {
    /// Starts to watch. Where that is not possible the reason is given, and polling is left.
    pub fn start(dir: &Path) -> (Self, Option<notify::Error>) {
        let (tell, changes) = sync_channel(1);
        let tell = move || {
            // full: there is a change to be told already
            let _ = tell.try_send(());
        };
        match watch(dir, tell) {
            Ok(watcher) => (Watch { changes, watcher: Some(watcher) }, None),
            Err(e) => (Watch { changes, watcher: None }, Some(e)),
        }
    }

    /// Waits until something may have changed, and then until it is quiet.
    pub fn changed(&mut self) {
        let patience = if self.watcher.is_some() { POLL } else { POLL_ALONE };
        match self.changes.recv_timeout(patience) {
            Ok(()) => while self.changes.recv_timeout(QUIET).is_ok() {},
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(POLL_ALONE),
        }
    }
}
