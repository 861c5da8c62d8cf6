//! `textDocument/definition`, `declaration`, `typeDefinition`, `implementation`, `references`, `documentHighlight` and
//! `documentLink`.

use super::convert::{Page, locations, range};
use crate::ide::{definition as go, highlight, implementation, links};
use crate::workspace::View;
use tower_lsp_server::ls_types::*;

/// Where a name comes from.
pub fn definition(view: &View<'_>, position: Position) -> Option<GotoDefinitionResponse> {
    let page = Page::of(view)?;
    let at = page.lines().offset(position);
    let found = go::definition(&view.ide(), &page.source, at);
    (!found.is_empty()).then(|| GotoDefinitionResponse::Array(locations(view, &found)))
}

/// Where the type of a name comes from.
pub fn type_definition(view: &View<'_>, position: Position) -> Option<GotoDefinitionResponse> {
    let page = Page::of(view)?;
    let found = implementation::type_definition(&view.ide(), &page.source, page.lines().offset(position));
    (!found.is_empty()).then(|| GotoDefinitionResponse::Array(locations(view, &found)))
}

/// What makes a name what it is.
pub fn implementations(view: &View<'_>, position: Position) -> Option<GotoDefinitionResponse> {
    let page = Page::of(view)?;
    let found = implementation::implementations(&view.ide(), &page.source, page.lines().offset(position));
    (!found.is_empty()).then(|| GotoDefinitionResponse::Array(locations(view, &found)))
}

/// Where a name stands.
pub fn references(view: &View<'_>, params: &ReferenceParams) -> Option<Vec<Location>> {
    let page = Page::of(view)?;
    let at = page.lines().offset(params.text_document_position.position);
    let found = go::references(&view.ide(), &page.source, at, params.context.include_declaration);
    (!found.is_empty()).then(|| locations(view, &found))
}

/// The other places of a name in the file.
pub fn document_highlight(
    view: &View<'_>,
    params: &DocumentHighlightParams,
) -> Option<Vec<DocumentHighlight>> {
    let page = Page::of(view)?;
    let lines = page.lines();
    let at = lines.offset(params.text_document_position_params.position);
    let found = highlight::highlight(&view.ide(), &page.source, at);
    let convert = |(span, written): (grammar::Span, bool)| DocumentHighlight {
        range: range(&lines, span),
        kind: Some(if written { DocumentHighlightKind::WRITE } else { DocumentHighlightKind::READ }),
    };
    (!found.is_empty()).then(|| found.into_iter().map(convert).collect())
}

/// Links to templates.
pub fn document_link(view: &View<'_>) -> Option<Vec<DocumentLink>> {
    let page = Page::of(view)?;
    let lines = page.lines();
    let found = links::links(&view.ide(), &page.source).into_iter();
    let link = |(span, path): (grammar::Span, String)| DocumentLink {
        range: range(&lines, span),
        target: view.uri(&path),
        tooltip: Some(path),
        data: None,
    };
    Some(found.map(link).collect())
}
