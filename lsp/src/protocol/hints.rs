//! `textDocument/inlayHint` and `inlayHint/resolve`, and `textDocument/semanticTokens` full, by range and as a delta.

use super::capabilities::Can;
use super::convert::{Page, markdown, span};
use crate::ide::tokens::TokenKind;
use crate::ide::{hover, inlay, tokens};
use crate::workspace::{View, Workspace};
use serde_json::json;
use tower_lsp_server::ls_types::*;

/// Values and types between the words. Where a value comes from is found out by [`resolve`], for editors that ask.
pub fn inlay_hint(view: &View<'_>, can: &Can, uri: &Uri, part: Range) -> Option<Vec<InlayHint>> {
    if !view.settings.inlay_hints {
        return Some(Vec::new());
    }
    let page = Page::of(view)?;
    let lines = page.lines();
    let ide = view.ide();
    let convert = |h: inlay::Hint| {
        let late = !h.is_type && can.resolves_hints();
        InlayHint {
            position: lines.position(h.at),
            label: InlayHintLabel::String(h.text),
            kind: h.is_type.then_some(InlayHintKind::TYPE),
            text_edits: None,
            tooltip: if h.is_type || late { None } else { tooltip(view, &h.variable) },
            padding_left: None,
            padding_right: None,
            data: late.then(|| json!({ "uri": uri.as_str(), "variable": h.variable })),
        }
    };
    Some(inlay::hints(&ide, &page.source, span(&lines, part)).into_iter().map(convert).collect())
}

/// Of a value, where it comes from.
fn tooltip(view: &View<'_>, variable: &str) -> Option<InlayHintTooltip> {
    hover::variable(&view.ide(), variable).map(|text| InlayHintTooltip::MarkupContent(markdown(text)))
}

/// The address in the data of a hint.
pub fn uri_of(hint: &InlayHint) -> Option<Uri> {
    hint.data.as_ref()?.get("uri")?.as_str()?.parse().ok()
}

/// What a hint says when the mouse rests on it.
pub fn resolve(view: &View<'_>, hint: &InlayHint) -> Option<InlayHintTooltip> {
    tooltip(view, hint.data.as_ref()?.get("variable")?.as_str()?)
}

/// What the words inside `when:` and templates are.
pub fn semantic_tokens(view: &View<'_>, part: Option<Range>) -> Option<Vec<SemanticToken>> {
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
    Some(data)
}

/// The tokens of a document, kept for [`delta`].
pub fn full(workspace: &mut Workspace, uri: &Uri) -> Option<SemanticTokens> {
    let data = semantic_tokens(&workspace.view(uri)?, None)?;
    let result_id = workspace.coloured(uri, data.clone());
    Some(SemanticTokens { result_id, data })
}

/// What is another one of the tokens of a document since an answer; all of them when that was not the last one.
pub fn delta(workspace: &mut Workspace, uri: &Uri, since: &str) -> Option<SemanticTokensFullDeltaResult> {
    let data = semantic_tokens(&workspace.view(uri)?, None)?;
    let before = workspace.colours(uri, since);
    let result_id = workspace.coloured(uri, data.clone());
    Some(match before {
        Some(before) => SemanticTokensFullDeltaResult::TokensDelta(SemanticTokensDelta {
            result_id,
            edits: edit(&before, &data),
        }),
        None => SemanticTokensFullDeltaResult::Tokens(SemanticTokens { result_id, data }),
    })
}

/// The one edit that makes one list of another: what they begin and end with alike stays.
fn edit(before: &[SemanticToken], after: &[SemanticToken]) -> Vec<SemanticTokensEdit> {
    if before == after {
        return Vec::new();
    }
    let start = before.iter().zip(after).take_while(|(b, a)| b == a).count();
    let (before, after) = (before.get(start..).unwrap_or_default(), after.get(start..).unwrap_or_default());
    let end = before.iter().rev().zip(after.iter().rev()).take_while(|(b, a)| b == a).count();
    let (gone, come) = (before.len() - end, after.get(..after.len() - end).unwrap_or_default());
    vec![SemanticTokensEdit {
        start: (start * NUMBERS) as u32,
        delete_count: (gone * NUMBERS) as u32,
        data: Some(come.to_vec()),
    }]
}

/// A token is this many numbers.
const NUMBERS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn token(delta_line: u32) -> SemanticToken {
        SemanticToken { delta_line, delta_start: 0, length: 1, token_type: 0, token_modifiers_bitset: 0 }
    }

    #[test]
    fn an_edit_makes_one_list_of_the_other() {
        let lists: [&[u32]; 6] = [&[], &[1], &[1, 2, 3], &[1, 3], &[1, 2, 2, 3], &[4, 5]];
        for before in lists {
            for after in lists {
                let tokens = |list: &[u32]| list.iter().map(|n| token(*n)).collect::<Vec<_>>();
                let (mut made, after) = (tokens(before), tokens(after));
                for e in edit(&tokens(before), &after) {
                    let from = e.start as usize / NUMBERS;
                    let to = from + e.delete_count as usize / NUMBERS;
                    made.splice(from..to, e.data.unwrap());
                }
                assert_eq!(made, after, "{before:?}");
            }
        }
    }
}
