//! Paths and bytes of the policy to addresses and positions of the protocol.

use crate::ide::{Source, Target, TextChange};
use crate::position::Lines;
use crate::workspace::View;
use grammar::Span;
use std::collections::BTreeMap;
use std::sync::Arc;
use tower_lsp_server::ls_types::*;

/// A file with its lines, for one answer.
pub struct Page {
    /// The file.
    pub source: Source,
    utf8: bool,
}

impl Page {
    /// The file that a question is about.
    pub fn of(view: &View<'_>) -> Option<Page> {
        Some(Page { source: view.ide().source(&view.path)?, utf8: view.utf8 })
    }

    /// Its lines.
    pub fn lines(&self) -> Lines<'_> {
        Lines::new(&self.source.text, self.utf8)
    }
}

/// The range of a span.
pub fn range(lines: &Lines<'_>, span: Span) -> Range {
    lines.range(span.range())
}

/// The span of a range.
pub fn span(lines: &Lines<'_>, range: Range) -> Span {
    let span = lines.span(range);
    Span::new(span.start as u32, span.end as u32)
}

/// Changes of one file.
pub fn edits(lines: &Lines<'_>, changes: &[TextChange]) -> Vec<TextEdit> {
    changes.iter().map(|c| TextEdit { range: range(lines, c.span), new_text: c.new.clone() }).collect()
}

/// Places in any files of the policy.
pub fn locations(view: &View<'_>, targets: &[Target]) -> Vec<Location> {
    let mut by_file: BTreeMap<&Arc<str>, Vec<Span>> = BTreeMap::new();
    for target in targets {
        by_file.entry(&target.file).or_default().push(target.span);
    }
    let mut out = Vec::new();
    for (file, spans) in by_file {
        let (Some(uri), Some(text)) = (view.uri(file), view.opened.policy.text(file)) else { continue };
        let lines = Lines::new(&text, view.utf8);
        out.extend(spans.iter().map(|s| Location { uri: uri.clone(), range: range(&lines, *s) }));
    }
    out
}

/// Text in Markdown.
pub fn markdown(text: String) -> MarkupContent {
    MarkupContent { kind: MarkupKind::Markdown, value: text }
}
