//! Language server for `.vgo`: what the compiler knows, while policy is being written.
//!
//! [`ide`] answers questions in plain data, [`workspace`] owns the policies that are open, `protocol` speaks with the
//! editor.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")
)]

pub mod ide;
mod position;
mod protocol;
mod root;
mod settings;
mod workspace;

use protocol::Backend;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tower_lsp_server::{LspService, Server};

/// Requests that may be under way at once. Handlers only send messages, so the number only has to be large enough
/// that an edit is always read.
const CONCURRENCY: usize = 64;

/// Serves one client until it leaves or closes its end; whether it asked to shut down before.
pub async fn serve(
    input: impl tokio::io::AsyncRead + Unpin,
    output: impl tokio::io::AsyncWrite + Unpin,
) -> bool {
    let goodbye = Arc::new(AtomicBool::new(false));
    let said = goodbye.clone();
    let (service, socket) = LspService::build(move |client| Backend::new(client, said))
        .custom_method("window/workDoneProgress/cancel", Backend::cancel_progress)
        .finish();
    Server::new(input, output, socket).concurrency_level(CONCURRENCY).serve(service).await;
    goodbye.load(Ordering::Relaxed)
}
