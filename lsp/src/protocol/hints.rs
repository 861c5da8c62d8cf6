//! `textDocument/inlayHint`, and `textDocument/semanticTokens` full and by range.

use super::convert::{Page, markdown, span};
use crate::ide::tokens::TokenKind;
use crate::ide::{hover, inlay, tokens};
use crate::workspace::View;
use tower_lsp_server::ls_types::*;

/// Values and types between the words.
pub fn inlay_hint(view: &View<'_>, part: Range) -> Option<Vec<InlayHint>> {
    if !view.settings.inlay_hints {
        return Some(Vec::new());
    }
    let page = Page::of(view)?;
    let lines = page.lines();
    let ide = view.ide();
    let convert = |h: inlay::Hint| InlayHint {
        position: lines.position(h.at),
        label: InlayHintLabel::String(h.text),
        kind: h.is_type.then_some(InlayHintKind::TYPE),
        text_edits: None,
        // of a value, where it comes from
        tooltip: (!h.is_type)
            .then(|| hover::variable(&ide, &h.variable))
            .flatten()
            .map(|text| InlayHintTooltip::MarkupContent(markdown(text))),
        padding_left: None,
        padding_right: None,
        data: None,
    };
    Some(inlay::hints(&ide, &page.source, span(&lines, part)).into_iter().map(convert).collect())
}

/// What the words inside `when:` and templates are.
pub fn semantic_tokens(view: &View<'_>, part: Option<Range>) -> Option<SemanticTokens> {
    let page = Page::of(view)?;
    let lines = page.lines();
    let found = tokens::tokens(&page.source, part.map(|r| span(&lines, r)));
    let (mut line, mut column) = (0, 0);
    let mut data = Vec::with_capacity(found.len());
    for token in found {
        let at = lines.range(token.span.range());
        if at.start.line != line {
            column = 0;
        }
        data.push(SemanticToken {
            delta_line: at.start.line - line,
            delta_start: at.start.character - column,
            length: at.end.character.saturating_sub(at.start.character),
            token_type: TokenKind::ALL.iter().position(|k| *k == token.kind).unwrap_or(0) as u32,
            token_modifiers_bitset: 0,
        });
        (line, column) = (at.start.line, at.start.character);
    }
    Some(SemanticTokens { result_id: None, data })
}
