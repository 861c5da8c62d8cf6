//! `textDocument/codeAction`: quick fixes, and `source.fixAll.vigo`.

use super::capabilities::Can;
use super::convert::{Page, span};
use super::diagnostics::convert;
use super::edit::edit;
use crate::ide::actions as ide;
use crate::workspace::Workspace;
use std::collections::BTreeMap;
use tower_lsp_server::ls_types::*;

/// Everything that is right whatever the author had in mind.
pub const FIX_ALL: &str = "source.fixAll.vigo";

/// What can be done at a place.
pub fn code_action(
    workspace: &mut Workspace,
    can: &Can,
    params: &CodeActionParams,
) -> Option<CodeActionResponse> {
    let wanted = |kind: &str| {
        let asked = |k: &CodeActionKind| kind == k.as_str() || kind.starts_with(&format!("{}.", k.as_str()));
        params.context.only.as_ref().is_none_or(|only| only.iter().any(asked))
    };
    let (root, _) = workspace.find(&params.text_document.uri)?;
    let report = workspace.report(&root)?;
    let view = workspace.view(&params.text_document.uri)?;
    let page = Page::of(&view)?;
    let lines = page.lines();
    let mut made = Vec::new();
    if wanted("quickfix") {
        for action in ide::actions(&report, &page.source, span(&lines, params.range)) {
            made.push((
                action.title,
                action.preferred,
                action.changes,
                Some(convert(&view, &action.of, &lines)),
            ));
        }
    }
    // it checks a copy of the policy: only for whoever asks for it by name
    let all = params.context.only.is_some() && wanted(FIX_ALL);
    let all = all.then(|| ide::fix_all(&view.ide(), &page.source)).flatten();
    let all = all.map(|changes| BTreeMap::from([(page.source.path.clone(), changes)]));
    let mut out = Vec::new();
    for (title, preferred, changes, of) in made {
        out.push(CodeActionOrCommand::CodeAction(CodeAction {
            title,
            kind: Some(CodeActionKind::QUICKFIX),
            diagnostics: of.map(|d| vec![d]),
            edit: Some(edit(workspace, &root, can, &changes, None)?),
            is_preferred: Some(preferred),
            ..CodeAction::default()
        }));
    }
    if let Some(changes) = all {
        out.push(CodeActionOrCommand::CodeAction(CodeAction {
            title: "Fix everything in this file".to_owned(),
            kind: Some(CodeActionKind::new(FIX_ALL)),
            edit: Some(edit(workspace, &root, can, &changes, None)?),
            ..CodeAction::default()
        }));
    }
    Some(out)
}
