//! Tells when a directory changed: at once where the system says so, and every now and then in any case, for
//! network file systems that say nothing.

use compiler::watch::{QUIET, Watcher, watch};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;

/// When the system says nothing.
const POLL: Duration = Duration::from_secs(60);

/// Watches a directory tree.
pub struct Watch {
    changes: mpsc::Receiver<()>,
    _watcher: Option<Watcher>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    /// Starts to watch. Where that is not possible, polling is left.
    pub fn start(dir: &Path) -> Self {
        let (tell, changes) = mpsc::channel(1);
        let tell = move || {
            // Full: somebody was told already.
            let _ = tell.try_send(());
        };
        let watcher = match watch(dir, tell) {
            Ok(watcher) => Some(watcher),
            Err(e) => {
                tracing::warn!(dir = %dir.display(), error = %e, "cannot watch the directory; looking every minute");
                None
            }
        };
        Watch { changes, _watcher: watcher }
    }

    /// Waits until something may have changed.
    pub async fn changed(&mut self) {
        match tokio::time::timeout(POLL, self.changes.recv()).await {
            Ok(Some(())) => {
                while let Ok(Some(())) = tokio::time::timeout(QUIET, self.changes.recv()).await {}
            }
            Ok(None) => tokio::time::sleep(POLL).await,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_saved_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = Watch::start(dir.path());
        std::fs::write(dir.path().join("a.vgo"), "a").unwrap();
        tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.unwrap();
        let quiet = tokio::time::timeout(Duration::from_millis(200), watch.changed()).await;
        assert!(quiet.is_err(), "nothing changed since");
    }
}
