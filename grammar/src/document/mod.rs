//! The structure of a `.vgo` file: a strict subset of YAML 1.2.
//!
//! Raw tokens of a line (`lexer`) become tokens with explicit indentation (`layout`, `flow`), which the grammar turns into
//! a [`Node`]; `check` then looks at the keys. Whatever parses without errors is what any YAML reader sees.

mod block_text;
mod build;
mod check;
mod control;
mod flow;
mod flow_foreign;
mod indent;
mod keys;
mod layout;
mod lexer;
mod lines;
mod plain;
mod properties;
mod quoted;
mod scalar;
mod token;
mod tree;
mod values;
mod words;

generated_grammar!("/document/grammar.rs");

pub use scalar::{Core, Scalar, TextMap};
pub use tree::{Entry, Key, Node, Style, Value};

use crate::Span;
use crate::error::{Sink, SyntaxError};

/// A parsed file.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The whole document; [`Value::Null`] for an empty file.
    pub root: Node,
    /// In the order of the text, at most a hundred and one that says so.
    pub errors: Vec<SyntaxError>,
    /// In the order of the text.
    pub comments: Vec<Comment>,
}

/// A `#` and what follows it on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comment {
    /// From the `#` to the end of the line.
    pub span: Span,
    /// Whether nothing else is on the line.
    pub own_line: bool,
}

impl Comment {
    /// The comment in the text that it was read from, with its `#`, without blanks at the end.
    pub fn text(self, source: &str) -> &str {
        source.get(self.span.range()).unwrap_or_default().trim_end_matches(lines::BLANK)
    }
}

/// Parses a file. Never fails: what is not understood is reported, and is a [`Value::Error`] in the tree.
pub fn parse(text: &str) -> Parsed {
    parse_at_most(text, layout::MOST_VALUES)
}

fn parse_at_most(text: &str, values: usize) -> Parsed {
    let mut layout = layout::Layout::new(text, values);
    let mut sink = Sink::default();
    let start = layout.at;
    control::check(text, start, &mut sink);
    let parsed = grammar::DocumentParser::new().parse(&mut sink, &mut layout);
    let mut root = match parsed {
        Ok(Some(root)) => root,
        Ok(None) => Node::new(Value::Null, Span::of(start..start)),
        Err(error) => {
            sink.push(build::unexpected(&error));
            Node::new(Value::Error, Span::of(start..text.len()))
        }
    };
    check::node(&mut root, &mut sink);
    sink.absorb(layout.sink);
    // Brackets that are too deep are read twice.
    let mut comments = layout.comments;
    comments.sort_by_key(|c| c.span.start);
    comments.dedup_by_key(|c| c.span.start);
    Parsed { root, errors: sink.finish(), comments }
}

#[cfg(test)]
mod tests;
