//! Language server for `.vgo`: publishes the diagnostics of `vigoc check` while policy is being written.
//!
//! One thread owns every open policy. Handlers only send it messages, in the order in which the editor sent
//! them; it drains what has queued up before it checks, so a burst of keystrokes costs one check.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")
)]

mod position;
mod workspace;

use std::sync::mpsc;
use tower_lsp_server::jsonrpc::Result;
use tower_lsp_server::ls_types::{
    DidChangeTextDocumentParams, DidChangeWatchedFilesParams, DidCloseTextDocumentParams,
    DidOpenTextDocumentParams, DidSaveTextDocumentParams, InitializeParams, InitializeResult,
    PositionEncodingKind, ServerCapabilities, ServerInfo, TextDocumentSyncKind, Uri,
};
use tower_lsp_server::{Client, LanguageServer, LspService, Server};
use workspace::{Message, Workspace};

/// Requests that may be under way at once. Handlers only send messages, so the number only has to be large enough
/// that an edit is always read.
const CONCURRENCY: usize = 64;

struct Backend {
    owner: mpsc::Sender<Message>,
}

impl Backend {
    fn new(client: Client) -> Self {
        let (owner, inbox) = mpsc::channel();
        let runtime = tokio::runtime::Handle::current();
        let publish = move |uri: Uri, found, version| {
            let client = client.clone();
            runtime.spawn(async move { client.publish_diagnostics(uri, found, version).await });
        };
        // without a thread the server still answers; it only has nothing to say
        let _ = std::thread::Builder::new()
            .name("vigo-policy".into())
            .spawn(move || Workspace::new(Box::new(publish)).run(&inbox));
        Backend { owner }
    }

    fn send(&self, message: Message) {
        // the owner ends only with the process
        let _ = self.owner.send(message);
    }
}

impl LanguageServer for Backend {
    async fn initialize(&self, params: InitializeParams) -> Result<InitializeResult> {
        let offered = params.capabilities.general.and_then(|g| g.position_encodings).unwrap_or_default();
        let utf8 = offered.contains(&PositionEncodingKind::UTF8);
        self.send(Message::Encoding { utf8 });
        let encoding = if utf8 { PositionEncodingKind::UTF8 } else { PositionEncodingKind::UTF16 };
        Ok(InitializeResult {
            capabilities: ServerCapabilities {
                position_encoding: Some(encoding),
                text_document_sync: Some(TextDocumentSyncKind::FULL.into()),
                ..ServerCapabilities::default()
            },
            server_info: Some(ServerInfo {
                name: "vigo-lsp".into(),
                version: Some(env!("CARGO_PKG_VERSION").into()),
            }),
            ..InitializeResult::default()
        })
    }

    async fn did_open(&self, params: DidOpenTextDocumentParams) {
        let d = params.text_document;
        self.send(Message::Edit { uri: d.uri, text: d.text, version: d.version });
    }

    async fn did_change(&self, mut params: DidChangeTextDocumentParams) {
        // full sync: the last change holds the whole text
        if let Some(change) = params.content_changes.pop() {
            let d = params.text_document;
            self.send(Message::Edit { uri: d.uri, text: change.text, version: d.version });
        }
    }

    async fn did_save(&self, _: DidSaveTextDocumentParams) {
        self.send(Message::DiskChanged);
    }

    async fn did_change_watched_files(&self, _: DidChangeWatchedFilesParams) {
        self.send(Message::DiskChanged);
    }

    async fn did_close(&self, params: DidCloseTextDocumentParams) {
        self.send(Message::Close { uri: params.text_document.uri });
    }

    async fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}

/// Serves one client until it says goodbye or closes its end.
pub async fn serve(input: impl tokio::io::AsyncRead + Unpin, output: impl tokio::io::AsyncWrite + Unpin) {
    let (service, socket) = LspService::new(Backend::new);
    Server::new(input, output, socket).concurrency_level(CONCURRENCY).serve(service).await;
}
