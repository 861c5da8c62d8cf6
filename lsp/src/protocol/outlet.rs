//! What the server says of its own accord. One task says it, in the order in which it came up.

use super::capabilities::Can;
use super::diagnostics::by_file;
use crate::workspace::{Outlet, Workspace};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tokio::sync::{mpsc, oneshot};
use tower_lsp_server::Client;
use tower_lsp_server::ls_types::*;

/// Something to say.
pub enum Say {
    /// The diagnostics of a document.
    Publish(Uri, Vec<Diagnostic>, Option<i32>),
    /// Something that the user should know.
    Warn(String),
    /// A policy is read for the first time.
    Loading(PathBuf),
    /// It was.
    Loaded(PathBuf),
    /// Diagnostics are to be fetched again.
    FetchDiagnostics,
    /// Values that are shown may be others.
    FetchValues,
}

/// Hands on what there is to say.
pub struct Speaker {
    say: mpsc::UnboundedSender<Say>,
    /// What each file was found to have when the editor was told to fetch it.
    fetched: Mutex<HashMap<PathBuf, BTreeMap<String, Vec<Diagnostic>>>>,
    /// What was sent last about a document, with its version.
    sent: Mutex<HashMap<Uri, Sent>>,
}

/// Diagnostics, and of which version of a document.
type Sent = (Vec<Diagnostic>, Option<i32>);

impl Speaker {
    /// With a channel to [`speak`].
    pub fn new(say: mpsc::UnboundedSender<Say>) -> Speaker {
        Speaker { say, fetched: Mutex::default(), sent: Mutex::default() }
    }

    fn say(&self, what: Say) {
        // without a listener the process is about to end
        let _ = self.say.send(what);
    }
}

impl Outlet for Speaker {
    fn checked(&self, workspace: &Workspace, root: &Path, files: &BTreeSet<String>) {
        let (Some(view), Some(report)) = (workspace.view_of(root), workspace.last_report(root)) else {
            return;
        };
        let mut found = by_file(&view, &report);
        if workspace.pull {
            let mut fetched = self.fetched.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if fetched.get(root) != Some(&found) {
                fetched.insert(root.to_owned(), found);
                self.say(Say::FetchDiagnostics);
            }
            return;
        }
        let mut sent = self.sent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for path in files {
            let (uri, version) = match workspace.document(root, path) {
                Some((uri, version)) => (uri.clone(), Some(version)),
                None => match view.uri(path) {
                    Some(uri) => (uri, None),
                    None => continue,
                },
            };
            let now = (found.remove(path).unwrap_or_default(), version);
            // most files are as they were, after most keys
            if sent.get(&uri) == Some(&now)
                || now.0.is_empty() && version.is_none() && !sent.contains_key(&uri)
            {
                continue;
            }
            let (diagnostics, version) = now.clone();
            if diagnostics.is_empty() && version.is_none() {
                sent.remove(&uri);
            } else {
                sent.insert(uri.clone(), now);
            }
            self.say(Say::Publish(uri, diagnostics, version));
        }
    }

    fn loading(&self, root: &Path) {
        self.say(Say::Loading(root.to_owned()));
    }

    fn loaded(&self, root: &Path) {
        self.say(Say::Loaded(root.to_owned()));
    }

    fn opened(&self, uri: &Uri) {
        self.sent.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(uri);
    }

    fn warn(&self, text: String) {
        self.say(Say::Warn(text));
    }

    fn other_values(&self) {
        self.say(Say::FetchValues);
    }
}

/// Says everything, until there is nobody left who could have something to say.
pub async fn speak(client: Client, can: Can, mut heard: mpsc::UnboundedReceiver<Say>) {
    let mut under_way: HashMap<PathBuf, oneshot::Sender<()>> = HashMap::new();
    let mut number = 0_i32;
    while let Some(what) = heard.recv().await {
        match what {
            Say::Publish(uri, diagnostics, version) => {
                client.publish_diagnostics(uri, diagnostics, version).await
            }
            Say::Warn(text) => client.show_message(MessageType::WARNING, text).await,
            Say::Loading(root) if can.progress() => {
                number = number.wrapping_add(1);
                let (done, wait) = oneshot::channel();
                tokio::spawn(progress(client.clone(), number, root.clone(), wait));
                under_way.insert(root, done);
            }
            Say::Loading(_) => {}
            Say::Loaded(root) => drop(under_way.remove(&root)),
            // an editor that is busy may answer late; nothing waits for it
            Say::FetchDiagnostics => {
                let client = client.clone();
                tokio::spawn(async move { client.workspace_diagnostic_refresh().await });
            }
            Say::FetchValues => {
                let (client, can) = (client.clone(), can.clone());
                tokio::spawn(async move {
                    if can.refresh_hints() {
                        let _ = client.inlay_hint_refresh().await;
                    }
                    if can.refresh_lenses() {
                        let _ = client.code_lens_refresh().await;
                    }
                });
            }
        }
    }
}

/// Shows that a policy is being read, until `done` or its sender goes away.
async fn progress(client: Client, number: i32, root: PathBuf, done: oneshot::Receiver<()>) {
    let token = ProgressToken::String(format!("vigo/load/{number}"));
    if client.create_work_done_progress(token.clone()).await.is_err() {
        return;
    }
    let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let shown = client.progress(token, "Vigo").with_message(format!("reading {name}")).begin().await;
    let _ = done.await;
    shown.finish().await;
}
