//! `textDocument/prepareRename`, `textDocument/rename` and `workspace/willRenameFiles`.

use super::capabilities::Can;
use super::convert::{Page, range};
use super::edit::edit;
use crate::ide::rename as names;
use crate::workspace::{View, Workspace};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tower_lsp_server::jsonrpc::{Error, ErrorCode, Result};
use tower_lsp_server::ls_types::*;

/// A refusal that the editor shows.
fn refused(why: impl ToString) -> Error {
    // of the codes, the one for a request that is right and cannot be done
    Error { code: ErrorCode::ServerError(REQUEST_FAILED), message: why.to_string().into(), data: None }
}

const REQUEST_FAILED: i64 = -32803;

/// What would be renamed.
pub fn prepare(view: &View<'_>, position: Position) -> Result<Option<PrepareRenameResponse>> {
    let Some(page) = Page::of(view) else { return Ok(None) };
    let lines = page.lines();
    match names::prepare(&view.ide(), &page.source, lines.offset(position)) {
        Ok((span, placeholder)) => {
            Ok(Some(PrepareRenameResponse::RangeWithPlaceholder { range: range(&lines, span), placeholder }))
        }
        Err(names::Refusal::Nothing) => Ok(None),
        Err(why) => Err(refused(why)),
    }
}

/// Renames.
pub fn rename(workspace: &mut Workspace, can: &Can, params: &RenameParams) -> Result<Option<WorkspaceEdit>> {
    let place = &params.text_document_position;
    let Some(view) = workspace.view(&place.text_document.uri) else { return Ok(None) };
    let Some(page) = Page::of(&view) else { return Ok(None) };
    let at = page.lines().offset(place.position);
    let done = names::rename(&view.ide(), &page.source, at, &params.new_name).map_err(refused)?;
    if done.moved.as_ref().is_some_and(|(old, _)| old.starts_with("templates/")) && !can.rename_files() {
        return Err(refused(
            "this editor cannot rename the file of a template along; rename the file yourself",
        ));
    }
    let root = view.root.to_owned();
    Ok(edit(workspace, &root, can, &done.changes, done.moved.as_ref()))
}

/// What has to change when files are renamed.
pub fn will_rename_files(
    workspace: &mut Workspace,
    can: &Can,
    params: &RenameFilesParams,
) -> Option<WorkspaceEdit> {
    let mut by_root: BTreeMap<PathBuf, Vec<(String, String)>> = BTreeMap::new();
    for file in &params.files {
        let (old, new): (Uri, Uri) = (file.old_uri.parse().ok()?, file.new_uri.parse().ok()?);
        let (old, new) = (old.to_file_path()?.into_owned(), new.to_file_path()?.into_owned());
        for root in workspace.policies().map(|(root, _)| root) {
            if let (Ok(old), Ok(new)) = (old.strip_prefix(root), new.strip_prefix(root)) {
                let text = |p: &std::path::Path| p.to_str().map(|p| p.replace('\\', "/"));
                let pair = (text(old)?, text(new)?);
                by_root.entry(root.clone()).or_default().push(pair);
            }
        }
    }
    // one edit is about one policy: files do not move from one to another
    let (root, files) = by_root.into_iter().next()?;
    let done = names::moved(&workspace.view_of(&root)?.ide(), &files);
    if done.changes.is_empty() {
        return None;
    }
    edit(workspace, &root, can, &done.changes, None)
}
