//! Changes of several files, as one edit: with the versions of open documents, and with files that get other names.

use super::capabilities::Can;
use super::convert::edits;
use crate::ide::TextChange;
use crate::position::Lines;
use crate::workspace::{View, Workspace};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use tower_lsp_server::ls_types::*;

/// Builds the edit; `moved` is the old and the new path of a file.
pub fn edit(
    workspace: &Workspace,
    root: &Path,
    can: &Can,
    changes: &BTreeMap<Arc<str>, Vec<TextChange>>,
    moved: Option<&(String, String)>,
) -> Option<WorkspaceEdit> {
    let view = workspace.view_of(root)?;
    let mut files: Vec<(Uri, Option<i32>, Vec<TextEdit>)> = Vec::new();
    for (path, changes) in changes {
        let text = view.opened.policy.text(path)?;
        let lines = Lines::new(&text, view.utf8);
        let (uri, version) = match workspace.document(root, path) {
            Some((uri, version)) => (uri.clone(), Some(version)),
            None => (view.uri(path)?, None),
        };
        files.push((uri, version, edits(&lines, changes)));
    }
    if !can.versioned() {
        let changes: HashMap<Uri, Vec<TextEdit>> =
            files.into_iter().map(|(uri, _, edits)| (uri, edits)).collect();
        return Some(WorkspaceEdit { changes: Some(changes), ..WorkspaceEdit::default() });
    }
    let edited = |(uri, version, edits): (Uri, Option<i32>, Vec<TextEdit>)| TextDocumentEdit {
        text_document: OptionalVersionedTextDocumentIdentifier { uri, version },
        edits: edits.into_iter().map(OneOf::Left).collect(),
    };
    let mut operations: Vec<DocumentChangeOperation> =
        files.into_iter().map(|f| DocumentChangeOperation::Edit(edited(f))).collect();
    // last, so that the edits find the file under its old name
    operations.extend(moved.filter(|_| can.rename_files()).and_then(|m| renamed(&view, m)));
    Some(WorkspaceEdit {
        document_changes: Some(DocumentChanges::Operations(operations)),
        ..WorkspaceEdit::default()
    })
}

fn renamed(view: &View<'_>, (old, new): &(String, String)) -> Option<DocumentChangeOperation> {
    Some(DocumentChangeOperation::Op(ResourceOp::Rename(RenameFile {
        old_uri: view.uri(old)?,
        new_uri: view.uri(new)?,
        options: Some(RenameFileOptions { overwrite: Some(false), ignore_if_exists: Some(false) }),
        annotation_id: None,
    })))
}
