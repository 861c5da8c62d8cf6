//! `callHierarchy/*`: from a resource to its module, its roles, its node entries.

use super::convert::{Page, range};
use crate::ide::Target;
use crate::ide::calls::{Link, LinkKind, at, incoming, outgoing};
use crate::position::Lines;
use crate::workspace::View;
use grammar::Span;
use serde_json::json;
use tower_lsp_server::ls_types::*;

/// What is at a place.
pub fn prepare(view: &View<'_>, position: Position) -> Option<Vec<CallHierarchyItem>> {
    let page = Page::of(view)?;
    let link = at(&view.ide(), &page.source, page.lines().offset(position))?;
    Some(vec![item(view, &link)?])
}

fn item(view: &View<'_>, link: &Link) -> Option<CallHierarchyItem> {
    let text = view.opened.policy.text(&link.target.file)?;
    let at = range(&Lines::new(&text, view.utf8), link.target.span);
    Some(CallHierarchyItem {
        name: link.name.clone(),
        kind: match link.kind {
            LinkKind::Resource => SymbolKind::OBJECT,
            LinkKind::Module => SymbolKind::MODULE,
            LinkKind::Role => SymbolKind::INTERFACE,
            LinkKind::Layer => SymbolKind::STRUCT,
        },
        tags: None,
        detail: Some(link.target.file.to_string()),
        uri: view.uri(&link.target.file)?,
        range: at,
        selection_range: at,
        data: Some(
            json!({ "kind": link.kind.name(), "name": link.name, "file": &*link.target.file, "span": [link.target.span.start, link.target.span.end] }),
        ),
    })
}

/// The link that an item was made of.
fn link(item: &CallHierarchyItem) -> Option<Link> {
    let data = item.data.as_ref()?;
    let bound = |n: usize| u32::try_from(data.get("span")?.get(n)?.as_u64()?).ok();
    Some(Link {
        kind: LinkKind::from_name(data.get("kind")?.as_str()?)?,
        name: data.get("name")?.as_str()?.to_owned(),
        target: Target { file: data.get("file")?.as_str()?.into(), span: Span::new(bound(0)?, bound(1)?) },
    })
}

fn ranges(view: &View<'_>, file: &str, spans: &[Span]) -> Vec<Range> {
    let text = view.opened.policy.text(file).unwrap_or_default();
    let lines = Lines::new(&text, view.utf8);
    spans.iter().map(|s| range(&lines, *s)).collect()
}

/// Who brings it.
pub fn incoming_calls(view: &View<'_>, of: &CallHierarchyItem) -> Option<Vec<CallHierarchyIncomingCall>> {
    let found = incoming(&view.ide(), &link(of)?);
    let call = |(l, spans): (Link, Vec<Span>)| {
        let from_ranges = ranges(view, &l.target.file, &spans);
        Some(CallHierarchyIncomingCall { from: item(view, &l)?, from_ranges })
    };
    Some(found.into_iter().filter_map(call).collect())
}

/// What it brings.
pub fn outgoing_calls(view: &View<'_>, of: &CallHierarchyItem) -> Option<Vec<CallHierarchyOutgoingCall>> {
    let from = link(of)?;
    let call = |(l, spans): (Link, Vec<Span>)| {
        let from_ranges = ranges(view, &from.target.file, &spans);
        Some(CallHierarchyOutgoingCall { to: item(view, &l)?, from_ranges })
    };
    Some(outgoing(&view.ide(), &from).into_iter().filter_map(call).collect())
}
