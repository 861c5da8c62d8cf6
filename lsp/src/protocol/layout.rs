//! `textDocument/formatting`, `rangeFormatting` and `onTypeFormatting`.

use super::convert::{Page, edits, span};
use crate::ide::format;
use crate::workspace::View;
use tower_lsp_server::ls_types::*;

/// The layout of a file. The options of the editor do not count: there is one layout.
pub fn formatting(view: &View<'_>) -> Option<Vec<TextEdit>> {
    let page = Page::of(view)?;
    Some(edits(&page.lines(), &format::format(&page.source)))
}

/// The layout of a part of a file.
pub fn range_formatting(view: &View<'_>, range: Range) -> Option<Vec<TextEdit>> {
    let page = Page::of(view)?;
    let lines = page.lines();
    Some(edits(&lines, &format::format_part(&page.source, span(&lines, range))))
}

/// How far a new line is indented.
pub fn on_type_formatting(view: &View<'_>, params: &DocumentOnTypeFormattingParams) -> Option<Vec<TextEdit>> {
    let page = Page::of(view)?;
    let lines = page.lines();
    let at = lines.offset(params.text_document_position.position);
    Some(edits(&lines, &format::typed(&page.source, at, &params.ch)))
}
