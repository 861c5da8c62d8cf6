//! `textDocument/codeAction` and `codeAction/resolve`: quick fixes, `refactor.extract`, `refactor.inline` and
//! `source.fixAll.vigo`.
//!
//! There is no `source.organizeImports`: the order of modules, roles and resources is part of what a policy says.

use super::capabilities::Can;
use super::convert::{Page, span};
use super::diagnostics::convert;
use super::edit::edit;
use crate::ide::actions::{self as ide, Changes};
use crate::ide::refactor::extract::extract;
use crate::ide::refactor::inline::inline;
use crate::ide::refactor::{Refusal, keeps_meaning};
use crate::workspace::Workspace;
use grammar::Span;
use serde_json::{Value as Json, json};
use std::path::Path;
use tower_lsp_server::ls_types::*;

/// Everything that is right whatever the author had in mind.
pub const FIX_ALL: &str = "source.fixAll.vigo";

/// What is done when it is chosen, and no sooner where the editor can ask for it then.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    FixAll,
    Extract,
    ExtractAll,
    Inline,
}

impl Work {
    const ALL: [Work; 4] = [Work::FixAll, Work::Extract, Work::ExtractAll, Work::Inline];

    fn name(self) -> &'static str {
        match self {
            Work::FixAll => "fixAll",
            Work::Extract => "extract",
            Work::ExtractAll => "extractAll",
            Work::Inline => "inline",
        }
    }

    fn kind(self) -> CodeActionKind {
        match self {
            Work::FixAll => CodeActionKind::new(FIX_ALL),
            Work::Extract | Work::ExtractAll => CodeActionKind::REFACTOR_EXTRACT,
            Work::Inline => CodeActionKind::REFACTOR_INLINE,
        }
    }
}

/// What can be done at a place.
pub fn code_action(
    workspace: &mut Workspace,
    can: &Can,
    params: &CodeActionParams,
) -> Option<CodeActionResponse> {
    let uri = &params.text_document.uri;
    let only = params.context.only.as_ref();
    let wanted = |kind: &CodeActionKind| {
        let kind = kind.as_str();
        let asked = |k: &CodeActionKind| kind == k.as_str() || kind.starts_with(&format!("{}.", k.as_str()));
        only.is_none_or(|only| only.iter().any(asked))
    };
    let (root, path) = workspace.find(uri)?;
    let mut out = Vec::new();
    if wanted(&CodeActionKind::QUICKFIX) {
        out.extend(quick_fixes(workspace, can, params, &root)?);
    }
    // it may take a while: only for whoever asks for it by name
    if only.is_some() && wanted(&CodeActionKind::new(FIX_ALL)) {
        let report = workspace.report(&root)?;
        if ide::can_fix(&report, &path) {
            let title = "Fix everything in this file".to_owned();
            out.extend(offered(workspace, can, params, &root, Work::FixAll, title));
        }
    }
    // whoever only moves the cursor gets no light bulb on every value
    let selected = params.range.start != params.range.end;
    let invoked = params.context.trigger_kind.is_none_or(|k| k == CodeActionTriggerKind::INVOKED);
    if only.is_none() && !selected && !invoked {
        return Some(out);
    }
    let part = part(workspace, uri, params.range)?;
    if wanted(&CodeActionKind::REFACTOR_EXTRACT) {
        let found = workspace.view(uri).and_then(|view| {
            let page = Page::of(&view)?;
            let one = extract(&view.ide(), &page.source, part, false).ok()?;
            let all = extract(&view.ide(), &page.source, part, true).map_or(1, |e| e.places);
            Some((one.name, all))
        });
        if let Some((name, all)) = found {
            let title = format!("Extract to the variable `{name}`");
            out.extend(offered(workspace, can, params, &root, Work::Extract, title));
            if all > 1 {
                let title = format!("Extract all {all} values like this to the variable `{name}`");
                out.extend(offered(workspace, can, params, &root, Work::ExtractAll, title));
            }
        }
    }
    if wanted(&CodeActionKind::REFACTOR_INLINE) {
        let found = workspace.view(uri).and_then(|view| {
            let page = Page::of(&view)?;
            Some(inline(&view.ide(), &page.source, part.start))
        });
        match found {
            Some(Ok(done)) => {
                let places = if done.places == 1 { "place" } else { "places" };
                let title = format!("Inline `{}` where it is read ({} {places})", done.name, done.places);
                out.extend(offered(workspace, can, params, &root, Work::Inline, title));
            }
            Some(Err(why)) if why != Refusal::Nothing && only.is_some() && can.shows_disabled() => {
                out.push(disabled("Inline the variable", Work::Inline, &why));
            }
            _ => {}
        }
    }
    Some(out)
}

/// An action that is shown with the reason why it cannot be done.
fn disabled(title: &str, work: Work, why: &Refusal) -> CodeActionOrCommand {
    CodeActionOrCommand::CodeAction(CodeAction {
        title: title.to_owned(),
        kind: Some(work.kind()),
        disabled: Some(CodeActionDisabled { reason: why.to_string() }),
        ..CodeAction::default()
    })
}

fn quick_fixes(
    workspace: &mut Workspace,
    can: &Can,
    params: &CodeActionParams,
    root: &Path,
) -> Option<Vec<CodeActionOrCommand>> {
    let report = workspace.report(root)?;
    let view = workspace.view(&params.text_document.uri)?;
    let page = Page::of(&view)?;
    let lines = page.lines();
    let found = ide::actions(&report, &page.source, span(&lines, params.range));
    let made: Vec<_> = found.into_iter().map(|a| (convert(&view, &a.of, &lines), a)).collect();
    let action = |(of, a): (Diagnostic, ide::Action)| {
        Some(CodeActionOrCommand::CodeAction(CodeAction {
            title: a.title,
            kind: Some(CodeActionKind::QUICKFIX),
            diagnostics: Some(vec![of]),
            edit: Some(edit(workspace, root, can, &a.changes, None)?),
            is_preferred: Some(a.preferred),
            ..CodeAction::default()
        }))
    };
    made.into_iter().map(action).collect()
}

fn part(workspace: &mut Workspace, uri: &Uri, range: Range) -> Option<Span> {
    let view = workspace.view(uri)?;
    let page = Page::of(&view)?;
    Some(span(&page.lines(), range))
}

/// An action whose edit comes later, where the editor asks for it; what cannot be done is not offered to the others.
fn offered(
    workspace: &mut Workspace,
    can: &Can,
    params: &CodeActionParams,
    root: &Path,
    work: Work,
    title: String,
) -> Option<CodeActionOrCommand> {
    let uri = &params.text_document.uri;
    let late = can.resolves_actions();
    let made = if late { None } else { Some(done(workspace, can, uri, root, work, params.range).ok()?) };
    Some(CodeActionOrCommand::CodeAction(CodeAction {
        title,
        kind: Some(work.kind()),
        edit: made,
        data: late.then(|| json!({ "uri": uri.as_str(), "work": work.name(), "range": params.range })),
        ..CodeAction::default()
    }))
}

/// The edit of an action that was offered without one.
pub fn resolve(workspace: &mut Workspace, can: &Can, action: &CodeAction) -> Result<WorkspaceEdit, String> {
    let asked = || -> Option<(Uri, Work, Range)> {
        let data = action.data.as_ref()?;
        let name = data.get("work")?.as_str()?;
        let work = Work::ALL.into_iter().find(|w| w.name() == name)?;
        let uri = data.get("uri").and_then(Json::as_str)?.parse().ok()?;
        Some((uri, work, serde_json::from_value(data.get("range")?.clone()).ok()?))
    };
    let (uri, work, range) = asked().ok_or("this action is not one of this server")?;
    let (root, _) = workspace.find(&uri).ok_or("the file is in no policy any more")?;
    done(workspace, can, &uri, &root, work, range)
}

fn done(
    workspace: &mut Workspace,
    can: &Can,
    uri: &Uri,
    root: &Path,
    work: Work,
    range: Range,
) -> Result<WorkspaceEdit, String> {
    let gone = "the file is in no policy any more";
    let part = part(workspace, uri, range).ok_or(gone)?;
    let (_, path) = workspace.find(uri).ok_or(gone)?;
    let refactored = |workspace: &mut Workspace| -> Result<Changes, Refusal> {
        let view = workspace.view(uri).ok_or(Refusal::Nothing)?;
        let page = Page::of(&view).ok_or(Refusal::Nothing)?;
        let changes = if work == Work::Inline {
            inline(&view.ide(), &page.source, part.start)?.changes
        } else {
            let done = extract(&view.ide(), &page.source, part, work == Work::ExtractAll)?;
            Changes::from([(page.source.path.clone(), done.changes)])
        };
        match workspace.try_on(root, |policy| keeps_meaning(policy, &changes)) {
            Some(true) => Ok(changes),
            _ => Err(Refusal::Meaning),
        }
    };
    let changes = match work {
        Work::FixAll => {
            let made = workspace.try_on(root, |policy| ide::fix_all(policy, &path)).flatten();
            made.map(|changes| Changes::from([(path.into(), changes)])).unwrap_or_default()
        }
        Work::Extract | Work::ExtractAll | Work::Inline => {
            refactored(workspace).map_err(|e| e.to_string())?
        }
    };
    edit(workspace, root, can, &changes, None).ok_or_else(|| gone.to_owned())
}
