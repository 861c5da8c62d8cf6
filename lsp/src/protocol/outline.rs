//! `textDocument/documentSymbol`, `workspace/symbol`, `workspaceSymbol/resolve`, `textDocument/foldingRange` and `textDocument/selectionRange`.

use super::capabilities::Can;
use super::convert::{Page, locations, range};
use crate::ide::names::{Named, of_file};
use crate::ide::symbols::{Symbol, SymbolKind as Kind, outline, search};
use crate::ide::{folding, selection};
use crate::position::Lines;
use crate::workspace::{View, Workspace};
use compiler::uses::Of;
use serde_json::json;
use tower_lsp_server::ls_types::*;

fn icon(kind: Kind) -> SymbolKind {
    match kind {
        Kind::Module => SymbolKind::MODULE,
        Kind::Group => SymbolKind::NAMESPACE,
        Kind::Variable => SymbolKind::VARIABLE,
        Kind::Resource => SymbolKind::OBJECT,
        Kind::Role => SymbolKind::INTERFACE,
        Kind::Environment => SymbolKind::ENUM,
        Kind::Entry => SymbolKind::STRUCT,
        Kind::Test => SymbolKind::EVENT,
    }
}

fn icon_of(of: Of) -> SymbolKind {
    match of {
        Of::Module => SymbolKind::MODULE,
        Of::Variable => SymbolKind::VARIABLE,
        Of::Role => SymbolKind::INTERFACE,
        Of::Environment => SymbolKind::ENUM,
        Of::Template => SymbolKind::FILE,
        Of::Trait => SymbolKind::PROPERTY,
        Of::Resource => SymbolKind::OBJECT,
    }
}

/// The outline of a file.
pub fn document_symbol(view: &View<'_>, can: &Can, uri: &Uri) -> Option<DocumentSymbolResponse> {
    let page = Page::of(view)?;
    let lines = page.lines();
    let found = outline(&view.ide(), &page.source);
    if can.levels() {
        return Some(DocumentSymbolResponse::Nested(found.into_iter().map(|s| nested(s, &lines)).collect()));
    }
    let mut out = Vec::new();
    found.into_iter().for_each(|s| flat(s, None, uri, &lines, &mut out));
    Some(DocumentSymbolResponse::Flat(out))
}

fn nested(s: Symbol, lines: &Lines<'_>) -> DocumentSymbol {
    let children: Vec<DocumentSymbol> = s.inside.into_iter().map(|i| nested(i, lines)).collect();
    #[expect(deprecated, reason = "the field has to be given")]
    DocumentSymbol {
        name: s.name,
        detail: (!s.detail.is_empty()).then_some(s.detail),
        kind: icon(s.kind),
        tags: None,
        deprecated: None,
        range: range(lines, s.span),
        selection_range: range(lines, s.at),
        children: (!children.is_empty()).then_some(children),
    }
}

fn flat(s: Symbol, container: Option<&str>, uri: &Uri, lines: &Lines<'_>, out: &mut Vec<SymbolInformation>) {
    let location = Location { uri: uri.clone(), range: range(lines, s.span) };
    out.push(information(s.name.clone(), icon(s.kind), location, container.map(str::to_owned)));
    for inside in s.inside {
        flat(inside, Some(&s.name), uri, lines, out);
    }
}

fn information(
    name: String,
    kind: SymbolKind,
    location: Location,
    container_name: Option<String>,
) -> SymbolInformation {
    #[expect(deprecated, reason = "the field has to be given")]
    SymbolInformation { name, kind, tags: None, deprecated: None, location, container_name }
}

/// More names than this are not looked at by anybody.
const MOST: usize = 500;

/// Names anywhere in the policies that are open. Where in its file each stands is found out by [`resolve`], for editors that
/// ask: it takes a look at every line of the file.
pub fn symbol(workspace: &Workspace, can: &Can, query: &str) -> WorkspaceSymbolResponse {
    if !can.resolves_symbols() {
        return WorkspaceSymbolResponse::Flat(flat_symbols(workspace, query));
    }
    let mut out = Vec::new();
    let roots: Vec<_> = workspace.policies().map(|(root, _)| root.clone()).collect();
    for view in roots.iter().filter_map(|root| workspace.view_of(root)) {
        for n in search(&view.ide(), query, MOST) {
            let Some(uri) = view.uri(&n.file) else { continue };
            let data = json!({ "name": &*n.name, "kind": n.of.name() });
            out.push(WorkspaceSymbol {
                name: n.name.to_string(),
                kind: icon_of(n.of),
                tags: None,
                container_name: Some(n.file.to_string()),
                location: OneOf::Right(WorkspaceLocation { uri }),
                data: Some(data),
            });
        }
    }
    WorkspaceSymbolResponse::Nested(out)
}

/// The address of a symbol whose place is not known yet.
pub fn uri_of(symbol: &WorkspaceSymbol) -> Option<&Uri> {
    match &symbol.location {
        OneOf::Right(there) => Some(&there.uri),
        OneOf::Left(_) => None,
    }
}

/// Where a symbol stands.
pub fn resolve(view: &View<'_>, symbol: &WorkspaceSymbol) -> Option<Location> {
    let page = Page::of(view)?;
    let kind = symbol.data.as_ref()?.get("kind")?.as_str()?;
    let here = of_file(&view.ide(), &page.source);
    let mut declared = here.iter().filter(|n| n.declares() && n.of.name() == kind && *n.name == *symbol.name);
    locations(view, &[declared.next()?.target()]).into_iter().next()
}

fn flat_symbols(workspace: &Workspace, query: &str) -> Vec<SymbolInformation> {
    let mut out = Vec::new();
    let roots: Vec<_> = workspace.policies().map(|(root, _)| root.clone()).collect();
    for view in roots.iter().filter_map(|root| workspace.view_of(root)) {
        let found: Vec<Named> = search(&view.ide(), query, MOST);
        for n in found {
            if let Some(location) = locations(&view, &[n.target()]).into_iter().next() {
                out.push(information(n.name.to_string(), icon_of(n.of), location, Some(n.file.to_string())));
            }
        }
    }
    out
}

/// What can be folded.
pub fn folding_range(view: &View<'_>) -> Option<Vec<FoldingRange>> {
    let page = Page::of(view)?;
    let convert = |f: folding::Fold| FoldingRange {
        start_line: f.first,
        end_line: f.last,
        kind: f.comment.then_some(FoldingRangeKind::Comment),
        ..FoldingRange::default()
    };
    Some(folding::folds(&page.source).into_iter().map(convert).collect())
}

/// Selections that grow, for each position.
pub fn selection_range(view: &View<'_>, params: &SelectionRangeParams) -> Option<Vec<SelectionRange>> {
    let page = Page::of(view)?;
    let lines = page.lines();
    let of = |position: &Position| {
        let spans = selection::selections(&page.source, lines.offset(*position));
        let grow = |parent: Option<Box<SelectionRange>>, span: &grammar::Span| {
            Some(Box::new(SelectionRange { range: range(&lines, *span), parent }))
        };
        let all = spans.iter().rev().fold(None, grow);
        all.map_or(SelectionRange { range: Range::new(*position, *position), parent: None }, |b| *b)
    };
    Some(params.positions.iter().map(of).collect())
}
