//! Commands that take a while: the editor shows that they run, and may give them up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use tower_lsp_server::Client;
use tower_lsp_server::jsonrpc::{Error, Result};
use tower_lsp_server::ls_types::ProgressToken;

/// What runs, by the token that the editor gave it.
#[derive(Clone, Default)]
pub struct Long {
    running: Arc<Mutex<HashMap<ProgressToken, oneshot::Sender<()>>>>,
}

impl Long {
    /// Gives up what runs under a token. The work itself goes on to its end on its own thread; nobody waits for it any more.
    pub fn cancel(&self, token: &ProgressToken) {
        drop(self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(token));
    }

    /// Waits for work, and shows meanwhile that it is under way.
    pub async fn run<T>(
        &self,
        client: &Client,
        token: ProgressToken,
        title: String,
        work: impl Future<Output = T>,
    ) -> Result<T> {
        let (stop, stopped) = oneshot::channel();
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), stop);
        let _here = Here { long: self.clone(), token: token.clone() };
        let (_shown, done) = oneshot::channel();
        tokio::spawn(show(client.clone(), token, title, done));
        tokio::select! {
            result = work => Ok(result),
            _ = stopped => Err(Error::request_cancelled()),
        }
    }
}

/// A request may be withdrawn at any time: nothing stays behind.
struct Here {
    long: Long,
    token: ProgressToken,
}

impl Drop for Here {
    fn drop(&mut self) {
        self.long.cancel(&self.token);
    }
}

/// Shows that something is under way until the sender of `done` goes away.
async fn show(client: Client, token: ProgressToken, title: String, done: oneshot::Receiver<()>) {
    let shown = client.progress(token, title).with_cancel_button().begin().await;
    let _: std::result::Result<(), _> = done.await;
    shown.finish().await;
}
