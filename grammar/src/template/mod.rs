//! Templates: text with `{{ actions }}` in the syntax of Go's `text/template`.
//!
//! Text is cut at `{{` as Go's lexer does it (trim markers and comments included); an action becomes flat tokens
//! (`token`), which the grammar turns into a [`Pipeline`]; `blocks` puts the actions together. Names of functions and
//! fields mean nothing here.

mod blocks;
mod build;
mod lexer;
mod literal;
mod token;
mod tree;

generated_grammar!("/template/grammar.rs");

pub use tree::{Branch, Command, Declaration, Ident, Operand, OperandKind, Piece, Pipeline, Template};

use crate::Span;
use crate::error::{Sink, SyntaxError};

/// Parses a template. Spans are offsets into `text`. Never fails: an action that is not understood is reported and becomes
/// [`Piece::Error`], or a block whose pipeline is an error.
pub fn parse(text: &str) -> (Template, Vec<SyntaxError>) {
    let mut builder = blocks::Builder::new(text);
    let mut at = 0;
    let mut dynamic = false;
    let mut comments = Vec::new();
    while let Some(found) = text[at..].find("{{") {
        dynamic = true;
        let open = at + found;
        let mut inside = open + 2;
        let trim = trim_open(text, inside);
        if trim {
            inside += 2;
        }
        let text_end = if trim { at + text[at..open].trim_end_matches(BLANKS).len() } else { open };
        builder.text(at, text_end);
        let (end, trim) = if text[inside..].starts_with("/*") {
            let passed = comment(text, open, inside, &mut builder.sink);
            comments.push(Span::of(open..passed.0));
            passed
        } else {
            let mut found = Sink::default();
            let action = token::action(text, inside, &mut found);
            let (end, trim) = (action.end, action.trim);
            if action.closed {
                builder.sink.append(found);
            } else {
                // What else seems wrong inside is most likely the text behind the forgotten braces.
                builder.sink.push(unclosed(open));
            }
            let action = token::Action { faulty: action.faulty || !action.closed, ..action };
            builder.action(action, Span::of(open..end));
            (end, trim)
        };
        at = if trim { text.len() - text[end..].trim_start_matches(BLANKS).len() } else { end };
    }
    builder.text(at, text.len());
    let (nodes, sink) = builder.finish();
    (Template { nodes, comments, dynamic }, sink.finish())
}

/// What Go trims.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Whether a trim marker is at `at`: a minus with a blank behind it. `{{-3}}` is a number.
fn trim_open(text: &str, at: usize) -> bool {
    matches!(text.as_bytes().get(at..at + 2), Some([b'-', b' ' | b'\t' | b'\r' | b'\n']))
}

/// Passes over the comment whose `/*` is at `at`. Returns where the text goes on, and whether it is trimmed.
fn comment(text: &str, open: usize, at: usize, sink: &mut Sink) -> (usize, bool) {
    let Some(found) = text[at + 2..].find("*/") else {
        sink.push(unclosed(open).help("close the comment with `*/}}`"));
        return (text.len(), false);
    };
    let end = at + 2 + found + 2;
    let rest = &text.as_bytes()[end..];
    match rest {
        [b'}', b'}', ..] => (end + 2, false),
        [b' ' | b'\t' | b'\r' | b'\n', b'-', b'}', b'}', ..] => (end + 4, true),
        _ => {
            sink.push(
                SyntaxError::new(
                    "template-comment",
                    Span::of(open..end),
                    "a comment has to fill its action",
                    "more follows this comment",
                )
                .help("write `{{/* comment */}}` or `{{- /* comment */ -}}`, with `}}` directly behind the comment"),
            );
            let close = text[end..].find("}}").map_or(text.len(), |found| end + found + 2);
            (close, false)
        }
    }
}

fn unclosed(open: usize) -> SyntaxError {
    SyntaxError::new(
        "template-unclosed-action",
        Span::of(open..open + 2),
        "this `{{` is never closed",
        "opened here",
    )
    .help("close the action with `}}`; write `{{ \"{{\" }}` for braces as text")
}

#[cfg(test)]
mod tests;
