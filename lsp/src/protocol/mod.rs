//! The protocol: requests become questions to the owner of the policies, answers become what editors understand. One
//! request, or one family of requests, a file; here they are only handed on.

mod actions;
mod calls;
mod capabilities;
mod commands;
mod completion;
mod convert;
mod diagnostics;
mod edit;
mod hints;
mod hover;
mod layout;
mod lenses;
mod long;
mod navigate;
mod outlet;
mod outline;
mod rename;

use crate::workspace::{Message, STACK, View, Workspace};
use capabilities::Can;
use long::Long;
use outlet::{Say, Speaker, speak};
use serde_json::Value as Json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use tokio::sync::{mpsc as channel, oneshot};
use tower_lsp_server::jsonrpc::{Error, ErrorCode, Result};
use tower_lsp_server::ls_types::request::*;
use tower_lsp_server::ls_types::*;
use tower_lsp_server::{Client, LanguageServer};

/// The side that faces the editor.
pub struct Backend {
    client: Client,
    owner: mpsc::Sender<Message>,
    say: channel::UnboundedSender<Say>,
    heard: std::sync::Mutex<Option<channel::UnboundedReceiver<Say>>>,
    can: OnceLock<Can>,
    /// Whether the editor said goodbye.
    goodbye: Arc<AtomicBool>,
    long: Long,
}

impl Backend {
    /// Starts the thread that owns the policies. `goodbye` becomes true when the editor asks to shut down.
    pub fn new(client: Client, goodbye: Arc<AtomicBool>) -> Self {
        let (owner, inbox) = mpsc::channel();
        let (say, heard) = channel::unbounded_channel();
        let speaker = Arc::new(Speaker::new(say.clone()));
        let myself = owner.clone();
        // without a thread the server still answers; it only has nothing to say
        let _ = std::thread::Builder::new()
            .name("vigo-policy".into())
            .stack_size(STACK)
            .spawn(move || Workspace::new(speaker, myself).run(&inbox));
        let heard = std::sync::Mutex::new(Some(heard));
        Backend { client, owner, say, heard, can: OnceLock::new(), goodbye, long: Long::default() }
    }

    fn can(&self) -> Can {
        self.can.get().cloned().unwrap_or_default()
    }

    fn send(&self, message: Message) {
        // the owner ends only with the process
        let _ = self.owner.send(message);
    }

    /// Asks the owner. A question that the editor withdraws before its turn is never answered.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Workspace) -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, wait) = oneshot::channel();
        self.send(Message::Ask(Box::new(move |workspace| {
            if !answer.is_closed() {
                let _ = answer.send(question(workspace));
            }
        })));
        wait.await.map_err(|_| Error::internal_error())
    }

    /// Asks about a file of a policy; nothing is said about any other.
    async fn about<T: Send + 'static>(
        &self,
        uri: &Uri,
        question: impl FnOnce(&View<'_>) -> Option<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let uri = uri.clone();
        self.ask(move |workspace| question(&workspace.view(&uri)?)).await
    }

    /// Asks the editor for the section `vigo` of its configuration.
    async fn fetch_configuration(&self) {
        let item = ConfigurationItem { scope_uri: None, section: Some("vigo".into()) };
        if let Ok(sections) = self.client.configuration(vec![item]).await {
            for section in sections {
                self.configure(section);
            }
        }
    }

    fn configure(&self, section: Json) {
        self.send(Message::Configure(section));
    }

    /// Asks to be told of settings that change; then they are fetched.
    async fn listen_to_settings(&self) {
        let registration = Registration {
            id: "vigo/settings".into(),
            method: "workspace/didChangeConfiguration".into(),
            register_options: None,
        };
        let _ = self.client.register_capability(vec![registration]).await;
    }

    /// The editor gives up what it waits for.
    pub async fn cancel_progress(&self, params: WorkDoneProgressCancelParams) {
        self.long.cancel(&params.token);
    }

    async fn watch(&self) {
        let watcher =
            |glob: &str| FileSystemWatcher { glob_pattern: GlobPattern::String(glob.into()), kind: None };
        let globs = ["**/*.vgo", "**/templates/**", "**/fleet.jsonl", "**/fleet.json"];
        let options = DidChangeWatchedFilesRegistrationOptions { watchers: globs.map(watcher).to_vec() };
        let registration = Registration {
            id: "vigo/files".into(),
            method: "workspace/didChangeWatchedFiles".into(),
            register_options: serde_json::to_value(options).ok(),
        };
        // an editor that refuses tells of what it saves itself
        let _ = self.client.register_capability(vec![registration]).await;
    }
}

fn failed(message: String) -> Error {
    Error { code: ErrorCode::ServerError(-32803), message: message.into(), data: None }
}

impl LanguageServer for Backend {
    async fn initialize(&self, params: InitializeParams) -> Result<InitializeResult> {
        let can = Can::new(&params);
        self.send(Message::Agreed { utf8: can.utf8(), pull: can.pull() });
        if let Some(options) = params.initialization_options {
            self.send(Message::Configure(options));
        }
        let capabilities = capabilities::offered(&can);
        let _ = self.can.set(can);
        Ok(InitializeResult {
            capabilities,
            server_info: Some(ServerInfo {
                name: "vigo-lsp".into(),
                version: Some(env!("CARGO_PKG_VERSION").into()),
            }),
            ..InitializeResult::default()
        })
    }

    async fn initialized(&self, _: InitializedParams) {
        let heard = self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(heard) = heard {
            tokio::spawn(speak(self.client.clone(), self.can(), heard));
        }
        if self.can().watch() {
            self.watch().await;
        }
        if self.can().configuration() {
            if self.can().tells_settings() {
                self.listen_to_settings().await;
            }
            self.fetch_configuration().await;
        }
    }

    async fn shutdown(&self) -> Result<()> {
        self.goodbye.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn did_open(&self, params: DidOpenTextDocumentParams) {
        let d = params.text_document;
        self.send(Message::Open { uri: d.uri, text: d.text, version: d.version });
    }

    async fn did_change(&self, params: DidChangeTextDocumentParams) {
        let d = params.text_document;
        self.send(Message::Change { uri: d.uri, changes: params.content_changes, version: d.version });
    }

    async fn did_save(&self, _: DidSaveTextDocumentParams) {
        self.send(Message::DiskChanged);
    }

    async fn did_close(&self, params: DidCloseTextDocumentParams) {
        self.send(Message::Close(params.text_document.uri));
    }

    async fn did_change_watched_files(&self, _: DidChangeWatchedFilesParams) {
        self.send(Message::DiskChanged);
    }

    async fn did_change_workspace_folders(&self, _: DidChangeWorkspaceFoldersParams) {
        // policies are found from the documents that are open
        self.send(Message::DiskChanged);
    }

    async fn did_change_configuration(&self, params: DidChangeConfigurationParams) {
        match params.settings {
            // the editor wants to be asked
            Json::Null if self.can().configuration() => self.fetch_configuration().await,
            settings => self.configure(settings),
        }
    }

    async fn hover(&self, params: HoverParams) -> Result<Option<Hover>> {
        let uri = params.text_document_position_params.text_document.uri.clone();
        self.about(&uri, move |view| hover::hover(view, &params)).await
    }

    async fn signature_help(&self, params: SignatureHelpParams) -> Result<Option<SignatureHelp>> {
        let uri = params.text_document_position_params.text_document.uri.clone();
        self.about(&uri, move |view| hover::signature_help(view, &params)).await
    }

    async fn completion(&self, params: CompletionParams) -> Result<Option<CompletionResponse>> {
        let (uri, can) = (params.text_document_position.text_document.uri.clone(), self.can());
        self.about(&uri, move |view| completion::completion(view, &can, &params)).await
    }

    async fn completion_resolve(&self, mut item: CompletionItem) -> Result<CompletionItem> {
        if let Some(uri) = completion::uri_of(&item) {
            let asked = item.clone();
            item.documentation = self.about(&uri, move |view| completion::resolve(view, &asked)).await?;
        }
        Ok(item)
    }

    async fn goto_definition(&self, params: GotoDefinitionParams) -> Result<Option<GotoDefinitionResponse>> {
        let place = params.text_document_position_params;
        self.about(&place.text_document.uri, move |view| navigate::definition(view, place.position)).await
    }

    async fn goto_declaration(
        &self,
        params: GotoDeclarationParams,
    ) -> Result<Option<GotoDeclarationResponse>> {
        let place = params.text_document_position_params;
        self.about(&place.text_document.uri, move |view| navigate::definition(view, place.position)).await
    }

    async fn goto_type_definition(
        &self,
        params: GotoTypeDefinitionParams,
    ) -> Result<Option<GotoTypeDefinitionResponse>> {
        let place = params.text_document_position_params;
        self.about(&place.text_document.uri, move |view| navigate::type_definition(view, place.position))
            .await
    }

    async fn goto_implementation(
        &self,
        params: GotoImplementationParams,
    ) -> Result<Option<GotoImplementationResponse>> {
        let place = params.text_document_position_params;
        self.about(&place.text_document.uri, move |view| navigate::implementations(view, place.position))
            .await
    }

    async fn references(&self, params: ReferenceParams) -> Result<Option<Vec<Location>>> {
        let uri = params.text_document_position.text_document.uri.clone();
        self.about(&uri, move |view| navigate::references(view, &params)).await
    }

    async fn document_highlight(
        &self,
        params: DocumentHighlightParams,
    ) -> Result<Option<Vec<DocumentHighlight>>> {
        let uri = params.text_document_position_params.text_document.uri.clone();
        self.about(&uri, move |view| navigate::document_highlight(view, &params)).await
    }

    async fn document_link(&self, params: DocumentLinkParams) -> Result<Option<Vec<DocumentLink>>> {
        self.about(&params.text_document.uri, navigate::document_link).await
    }

    async fn document_symbol(&self, params: DocumentSymbolParams) -> Result<Option<DocumentSymbolResponse>> {
        let (uri, can) = (params.text_document.uri, self.can());
        let of = uri.clone();
        self.about(&uri, move |view| outline::document_symbol(view, &can, &of)).await
    }

    async fn symbol(&self, params: WorkspaceSymbolParams) -> Result<Option<WorkspaceSymbolResponse>> {
        let can = self.can();
        self.ask(move |workspace| Some(outline::symbol(workspace, &can, &params.query))).await
    }

    async fn symbol_resolve(&self, mut symbol: WorkspaceSymbol) -> Result<WorkspaceSymbol> {
        if let Some(uri) = outline::uri_of(&symbol).cloned() {
            let asked = symbol.clone();
            if let Some(found) = self.about(&uri, move |view| outline::resolve(view, &asked)).await? {
                symbol.location = OneOf::Left(found);
            }
        }
        Ok(symbol)
    }

    async fn folding_range(&self, params: FoldingRangeParams) -> Result<Option<Vec<FoldingRange>>> {
        self.about(&params.text_document.uri, outline::folding_range).await
    }

    async fn selection_range(&self, params: SelectionRangeParams) -> Result<Option<Vec<SelectionRange>>> {
        let uri = params.text_document.uri.clone();
        self.about(&uri, move |view| outline::selection_range(view, &params)).await
    }

    async fn formatting(&self, params: DocumentFormattingParams) -> Result<Option<Vec<TextEdit>>> {
        self.about(&params.text_document.uri, layout::formatting).await
    }

    async fn range_formatting(&self, params: DocumentRangeFormattingParams) -> Result<Option<Vec<TextEdit>>> {
        self.about(&params.text_document.uri, move |view| layout::range_formatting(view, params.range)).await
    }

    async fn on_type_formatting(
        &self,
        params: DocumentOnTypeFormattingParams,
    ) -> Result<Option<Vec<TextEdit>>> {
        let uri = params.text_document_position.text_document.uri.clone();
        self.about(&uri, move |view| layout::on_type_formatting(view, &params)).await
    }

    async fn prepare_rename(
        &self,
        params: TextDocumentPositionParams,
    ) -> Result<Option<PrepareRenameResponse>> {
        let found =
            self.about(&params.text_document.uri, move |view| Some(rename::prepare(view, params.position)));
        found.await?.unwrap_or(Ok(None))
    }

    async fn rename(&self, params: RenameParams) -> Result<Option<WorkspaceEdit>> {
        let can = self.can();
        self.ask(move |workspace| rename::rename(workspace, &can, &params)).await?
    }

    async fn will_rename_files(&self, params: RenameFilesParams) -> Result<Option<WorkspaceEdit>> {
        let can = self.can();
        self.ask(move |workspace| rename::will_rename_files(workspace, &can, &params)).await
    }

    async fn code_action(&self, params: CodeActionParams) -> Result<Option<CodeActionResponse>> {
        let can = self.can();
        self.ask(move |workspace| actions::code_action(workspace, &can, &params)).await
    }

    async fn code_action_resolve(&self, mut action: CodeAction) -> Result<CodeAction> {
        // one that has its edit has nothing left to be found out
        if action.data.is_some() && action.edit.is_none() {
            let (can, asked) = (self.can(), action.clone());
            let made = self.ask(move |workspace| actions::resolve(workspace, &can, &asked)).await?;
            action.edit = Some(made.map_err(failed)?);
        }
        Ok(action)
    }

    async fn code_lens(&self, params: CodeLensParams) -> Result<Option<Vec<CodeLens>>> {
        let uri = params.text_document.uri;
        let of = uri.clone();
        self.about(&uri, move |view| lenses::code_lens(view, &of)).await
    }

    async fn code_lens_resolve(&self, mut lens: CodeLens) -> Result<CodeLens> {
        if let (None, Some(uri)) = (&lens.command, lenses::uri_of(&lens)) {
            let (can, asked) = (self.can(), lens.clone());
            lens.command = self.about(&uri, move |view| lenses::resolved(view, &can, &asked)).await?;
        }
        Ok(lens)
    }

    async fn inlay_hint(&self, params: InlayHintParams) -> Result<Option<Vec<InlayHint>>> {
        let (uri, can) = (params.text_document.uri, self.can());
        let of = uri.clone();
        self.about(&uri, move |view| hints::inlay_hint(view, &can, &of, params.range)).await
    }

    async fn inlay_hint_resolve(&self, mut hint: InlayHint) -> Result<InlayHint> {
        if let Some(uri) = hints::uri_of(&hint) {
            let asked = hint.clone();
            hint.tooltip = self.about(&uri, move |view| hints::resolve(view, &asked)).await?;
        }
        Ok(hint)
    }

    async fn semantic_tokens_full(
        &self,
        params: SemanticTokensParams,
    ) -> Result<Option<SemanticTokensResult>> {
        let found = self.ask(move |workspace| hints::full(workspace, &params.text_document.uri)).await?;
        Ok(found.map(SemanticTokensResult::Tokens))
    }

    async fn semantic_tokens_full_delta(
        &self,
        params: SemanticTokensDeltaParams,
    ) -> Result<Option<SemanticTokensFullDeltaResult>> {
        let (uri, since) = (params.text_document.uri, params.previous_result_id);
        self.ask(move |workspace| hints::delta(workspace, &uri, &since)).await
    }

    async fn semantic_tokens_range(
        &self,
        params: SemanticTokensRangeParams,
    ) -> Result<Option<SemanticTokensRangeResult>> {
        let part = Some(params.range);
        let found =
            self.about(&params.text_document.uri, move |view| hints::semantic_tokens(view, part)).await?;
        let tokens = |data| SemanticTokensRangeResult::Tokens(SemanticTokens { result_id: None, data });
        Ok(found.map(tokens))
    }

    async fn prepare_call_hierarchy(
        &self,
        params: CallHierarchyPrepareParams,
    ) -> Result<Option<Vec<CallHierarchyItem>>> {
        let place = params.text_document_position_params;
        self.about(&place.text_document.uri, move |view| calls::prepare(view, place.position)).await
    }

    async fn incoming_calls(
        &self,
        params: CallHierarchyIncomingCallsParams,
    ) -> Result<Option<Vec<CallHierarchyIncomingCall>>> {
        let uri = params.item.uri.clone();
        self.about(&uri, move |view| calls::incoming_calls(view, &params.item)).await
    }

    async fn outgoing_calls(
        &self,
        params: CallHierarchyOutgoingCallsParams,
    ) -> Result<Option<Vec<CallHierarchyOutgoingCall>>> {
        let uri = params.item.uri.clone();
        self.about(&uri, move |view| calls::outgoing_calls(view, &params.item)).await
    }

    async fn diagnostic(&self, params: DocumentDiagnosticParams) -> Result<DocumentDiagnosticReportResult> {
        self.ask(move |workspace| diagnostics::document(workspace, &params)).await
    }

    async fn workspace_diagnostic(
        &self,
        params: WorkspaceDiagnosticParams,
    ) -> Result<WorkspaceDiagnosticReportResult> {
        self.ask(move |workspace| diagnostics::workspace(workspace, &params)).await
    }

    async fn execute_command(&self, params: ExecuteCommandParams) -> Result<Option<LSPAny>> {
        let select = params.command == "vigo.selectEnvoy";
        let token = params.work_done_progress_params.work_done_token;
        let title = format!("Vigo: {}", params.command.trim_start_matches("vigo."));
        let outcome = self
            .ask(move |workspace| commands::execute(workspace, &params.command, &params.arguments))
            .await?
            .map_err(failed)?;
        if select {
            let _ = self.say.send(Say::FetchValues);
        }
        match outcome {
            commands::Outcome::Answer(json) => Ok(Some(json)),
            commands::Outcome::Later(work) => {
                let (answer, wait) = oneshot::channel();
                let run = move || drop(answer.send(work()));
                let started =
                    std::thread::Builder::new().name("vigo-command".into()).stack_size(STACK).spawn(run);
                if let Err(e) = started {
                    return Err(failed(format!("cannot start a thread: {e}")));
                }
                let done = match token {
                    Some(token) => self.long.run(&self.client, token, title, wait).await?,
                    None => wait.await,
                };
                done.map_err(|_| Error::internal_error())?.map(Some).map_err(failed)
            }
        }
    }
}
