//! Nodes out of tokens: the actions of the grammar.

use super::token::Tok;
use super::{Entry, Key, Node, Style, Value};
use crate::Span;
use crate::error::{Sink, SyntaxError};

pub(super) fn or_null(value: Option<Node>, end: u32) -> Node {
    value.unwrap_or_else(|| Node::new(Value::Null, Span::new(end, end)))
}

pub(super) fn entry((key, end): (Key, u32), value: Option<Node>) -> Entry {
    Entry { key, value: or_null(value, end) }
}

pub(super) fn map(entries: Vec<Entry>) -> Node {
    let span = match (entries.first(), entries.last()) {
        (Some(first), Some(last)) => first.key.span.cover(last.span()),
        _ => Span::new(0, 0),
    };
    Node::new(Value::Map(entries), span)
}

pub(super) fn seq(start: u32, items: Vec<Node>) -> Node {
    let end = items.last().map_or(start, |last| last.span.end);
    Node::new(Value::Seq(items), Span::new(start, end))
}

pub(super) fn flow_seq(items: Vec<Node>, span: Span) -> Node {
    Node::new(Value::Seq(items), span)
}

pub(super) fn flow_map(entries: Vec<Option<Entry>>, span: Span) -> Node {
    Node::new(Value::Map(entries.into_iter().flatten().collect()), span)
}

/// `[key: value]` is a sequence of one mapping.
pub(super) fn single_pair(sink: &mut Sink, key: Node, colon: u32, value: Option<Node>) -> Node {
    let span = key.span.cover(Span::new(colon, colon));
    let Some(entry) = flow_entry(sink, key, Some(colon), value) else {
        return Node::new(Value::Error, span);
    };
    let span = span.cover(entry.span());
    Node::new(Value::Map(vec![entry]), span)
}

pub(super) fn flow_entry(
    sink: &mut Sink,
    key: Node,
    colon: Option<u32>,
    value: Option<Node>,
) -> Option<Entry> {
    let span = key.span;
    let end = colon.unwrap_or(span.end);
    match key.value {
        Value::Scalar(scalar) => {
            let style = scalar.style;
            Some(Entry { key: Key { text: scalar.text, span, style }, value: or_null(value, end) })
        }
        Value::Error => None,
        Value::Seq(_) | Value::Map(_) | Value::Null => {
            sink.push(non_scalar_key(span));
            None
        }
    }
}

pub(super) fn non_scalar_key(span: Span) -> SyntaxError {
    SyntaxError::new("non-scalar-key", span, "a key has to be text", "a list or a mapping cannot be a key")
        .help("write the key as plain or quoted text; if this is a template, quote it as a whole")
}

/// The layout repairs everything before the grammar sees it, so this is a second line of defence.
pub(super) fn unexpected(error: &lalrpop_util::ParseError<u32, Tok, ()>) -> SyntaxError {
    use lalrpop_util::ParseError as E;
    let span = match error {
        E::InvalidToken { location } | E::UnrecognizedEof { location, .. } => Span::new(*location, *location),
        E::UnrecognizedToken { token: (start, _, end), .. } | E::ExtraToken { token: (start, _, end) } => {
            Span::new(*start, *end)
        }
        E::User { .. } => Span::new(0, 0),
    };
    SyntaxError::new("syntax-error", span, "this cannot stand here", "not expected here")
}

/// Whether an entry stands for a `:` without a key, which the layout has reported: plain text is never empty otherwise.
pub(super) fn is_missing_key(key: &Key) -> bool {
    key.style == Style::Plain && key.text.is_empty()
}
