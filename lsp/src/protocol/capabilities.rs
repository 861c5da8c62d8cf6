//! What the editor can do, and what it is told that the server can do.

use crate::ide::tokens::TokenKind;
use serde_json::Value as Json;
use tower_lsp_server::ls_types::*;

/// What the editor said that it can do.
#[derive(Clone, Debug, Default)]
pub struct Can {
    json: Json,
    /// How the editor calls itself.
    pub client: String,
}

/// The commands that the server runs.
pub const COMMANDS: [&str; 6] =
    ["vigo.plan", "vigo.explain", "vigo.runTest", "vigo.graph", "vigo.previewBundle", "vigo.selectEnvoy"];

impl Can {
    /// Of what the editor said first.
    pub fn new(params: &InitializeParams) -> Can {
        let json = serde_json::to_value(&params.capabilities).unwrap_or_default();
        let client = params.client_info.as_ref().map(|c| c.name.clone()).unwrap_or_default();
        Can { json, client }
    }

    fn flag(&self, path: &str) -> bool {
        self.json.pointer(path).and_then(Json::as_bool).unwrap_or(false)
    }

    fn lists(&self, path: &str, value: &str) -> bool {
        let list = self.json.pointer(path).and_then(Json::as_array);
        list.is_some_and(|l| l.iter().any(|v| v == value))
    }

    /// Columns are bytes.
    pub fn utf8(&self) -> bool {
        self.lists("/general/positionEncodings", "utf-8")
    }

    /// It fetches the diagnostics of the whole policy, and can be told to do so again. An editor that only fetches those of
    /// open files is sent them: an edit may break other files as well.
    pub fn pull(&self) -> bool {
        self.json.pointer("/textDocument/diagnostic").is_some()
            && self.flag("/workspace/diagnostics/refreshSupport")
    }

    /// Items of a completion may have places to fill in.
    pub fn snippets(&self) -> bool {
        self.flag("/textDocument/completion/completionItem/snippetSupport")
    }

    /// An edit may rename files.
    pub fn rename_files(&self) -> bool {
        self.lists("/workspace/workspaceEdit/resourceOperations", "rename") && self.versioned()
    }

    /// Edits may say of which version of a document they are.
    pub fn versioned(&self) -> bool {
        self.flag("/workspace/workspaceEdit/documentChanges")
    }

    /// Outlines may have levels.
    pub fn levels(&self) -> bool {
        self.flag("/textDocument/documentSymbol/hierarchicalDocumentSymbolSupport")
    }

    /// It watches files when it is asked to.
    pub fn watch(&self) -> bool {
        self.flag("/workspace/didChangeWatchedFiles/dynamicRegistration")
    }

    /// It answers questions about its configuration.
    pub fn configuration(&self) -> bool {
        self.flag("/workspace/configuration")
    }

    /// It shows progress.
    pub fn progress(&self) -> bool {
        self.flag("/window/workDoneProgress")
    }

    /// It fetches lenses again when it is asked to.
    pub fn refresh_lenses(&self) -> bool {
        self.flag("/workspace/codeLens/refreshSupport")
    }

    /// It fetches hints again when it is asked to.
    pub fn refresh_hints(&self) -> bool {
        self.flag("/workspace/inlayHint/refreshSupport")
    }

    /// It fetches what an action changes when the action is chosen.
    pub fn resolves_actions(&self) -> bool {
        self.flag("/textDocument/codeAction/dataSupport")
            && self.lists("/textDocument/codeAction/resolveSupport/properties", "edit")
    }

    /// It shows actions that cannot be done, with the reason.
    pub fn shows_disabled(&self) -> bool {
        self.flag("/textDocument/codeAction/disabledSupport")
    }

    /// It fetches what a hint says when the mouse rests on it.
    pub fn resolves_hints(&self) -> bool {
        self.lists("/textDocument/inlayHint/resolveSupport/properties", "tooltip")
    }

    /// It fetches the place of a symbol when it is chosen.
    pub fn resolves_symbols(&self) -> bool {
        self.lists("/workspace/symbol/resolveSupport/properties", "location.range")
    }

    /// It tells of settings that change when it is asked to.
    pub fn tells_settings(&self) -> bool {
        self.flag("/workspace/didChangeConfiguration/dynamicRegistration")
    }

    /// It is an editor of the family of VS Code, which has commands of its own.
    pub fn is_vscode(&self) -> bool {
        let name = self.client.to_lowercase();
        name.contains("visual studio code") || name.contains("code-server") || name.contains("vscod")
    }
}

/// What the server can do.
pub fn offered(can: &Can) -> ServerCapabilities {
    let encoding = if can.utf8() { PositionEncodingKind::UTF8 } else { PositionEncodingKind::UTF16 };
    let text = |list: &[&str]| Some(list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
    let pulled = DiagnosticOptions {
        identifier: Some("vigo".into()),
        inter_file_dependencies: true,
        workspace_diagnostics: true,
        work_done_progress_options: WorkDoneProgressOptions::default(),
    };
    let legend = SemanticTokensLegend {
        token_types: TokenKind::ALL.iter().map(|k| SemanticTokenType::new(k.name())).collect(),
        token_modifiers: Vec::new(),
    };
    let below = |glob: &str| FileOperationFilter {
        scheme: Some("file".into()),
        pattern: FileOperationPattern { glob: glob.into(), matches: None, options: None },
    };
    let moved =
        FileOperationRegistrationOptions { filters: vec![below("**/templates/**"), below("**/modules/**")] };
    ServerCapabilities {
        position_encoding: Some(encoding),
        text_document_sync: Some(TextDocumentSyncCapability::Options(TextDocumentSyncOptions {
            open_close: Some(true),
            change: Some(TextDocumentSyncKind::INCREMENTAL),
            save: Some(TextDocumentSyncSaveOptions::Supported(true)),
            ..TextDocumentSyncOptions::default()
        })),
        hover_provider: Some(true.into()),
        completion_provider: Some(CompletionOptions {
            resolve_provider: Some(true),
            trigger_characters: text(&[".", ":", " ", "{", "[", "(", "'", "\"", "/", "$", ","]),
            ..CompletionOptions::default()
        }),
        signature_help_provider: Some(SignatureHelpOptions {
            trigger_characters: text(&["(", ",", " "]),
            ..SignatureHelpOptions::default()
        }),
        definition_provider: Some(OneOf::Left(true)),
        declaration_provider: Some(DeclarationCapability::Simple(true)),
        type_definition_provider: Some(TypeDefinitionProviderCapability::Simple(true)),
        implementation_provider: Some(ImplementationProviderCapability::Simple(true)),
        references_provider: Some(OneOf::Left(true)),
        document_highlight_provider: Some(OneOf::Left(true)),
        document_symbol_provider: Some(OneOf::Left(true)),
        workspace_symbol_provider: Some(OneOf::Right(WorkspaceSymbolOptions {
            resolve_provider: Some(true),
            work_done_progress_options: WorkDoneProgressOptions::default(),
        })),
        code_action_provider: Some(CodeActionProviderCapability::Options(CodeActionOptions {
            code_action_kinds: Some(vec![
                CodeActionKind::QUICKFIX,
                CodeActionKind::REFACTOR_EXTRACT,
                CodeActionKind::REFACTOR_INLINE,
                CodeActionKind::new(super::actions::FIX_ALL),
            ]),
            resolve_provider: Some(true),
            ..CodeActionOptions::default()
        })),
        code_lens_provider: Some(CodeLensOptions { resolve_provider: Some(true) }),
        document_formatting_provider: Some(OneOf::Left(true)),
        document_range_formatting_provider: Some(OneOf::Left(true)),
        document_on_type_formatting_provider: Some(DocumentOnTypeFormattingOptions {
            first_trigger_character: "\n".into(),
            more_trigger_character: text(&["-", ":"]),
        }),
        rename_provider: Some(OneOf::Right(RenameOptions {
            prepare_provider: Some(true),
            work_done_progress_options: WorkDoneProgressOptions::default(),
        })),
        document_link_provider: Some(DocumentLinkOptions {
            resolve_provider: Some(false),
            work_done_progress_options: WorkDoneProgressOptions::default(),
        }),
        folding_range_provider: Some(FoldingRangeProviderCapability::Simple(true)),
        selection_range_provider: Some(SelectionRangeProviderCapability::Simple(true)),
        execute_command_provider: Some(ExecuteCommandOptions {
            commands: COMMANDS.iter().map(|c| (*c).to_owned()).collect(),
            work_done_progress_options: WorkDoneProgressOptions { work_done_progress: Some(true) },
        }),
        call_hierarchy_provider: Some(CallHierarchyServerCapability::Simple(true)),
        semantic_tokens_provider: Some(SemanticTokensServerCapabilities::SemanticTokensOptions(
            SemanticTokensOptions {
                legend,
                range: Some(true),
                full: Some(SemanticTokensFullOptions::Delta { delta: Some(true) }),
                ..SemanticTokensOptions::default()
            },
        )),
        inlay_hint_provider: Some(OneOf::Right(InlayHintServerCapabilities::Options(InlayHintOptions {
            resolve_provider: Some(true),
            ..InlayHintOptions::default()
        }))),
        diagnostic_provider: can.pull().then_some(DiagnosticServerCapabilities::Options(pulled)),
        workspace: Some(WorkspaceServerCapabilities {
            workspace_folders: Some(WorkspaceFoldersServerCapabilities {
                supported: Some(true),
                change_notifications: Some(OneOf::Left(true)),
            }),
            file_operations: Some(WorkspaceFileOperationsServerCapabilities {
                will_rename: Some(moved),
                ..WorkspaceFileOperationsServerCapabilities::default()
            }),
        }),
        ..ServerCapabilities::default()
    }
}
