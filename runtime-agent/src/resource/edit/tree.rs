//! A document as values that know where they stand.

use super::structured::Step;
use ir::Value;
use std::ops::Range;
use std::sync::Arc;

/// A value, and where it stands in its text.
#[derive(Clone, Debug)]
pub struct Node {
    /// In bytes, without what is around it.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
    /// Laid out by indentation, not in braces.
    pub block: bool,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Neither map nor list.
    Scalar(Value),
    /// In the order of the text.
    Map(Vec<Entry>),
    /// In order.
    List(Vec<Node>),
    /// Stands for something elsewhere, which has this value.
    Alias(Value),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Read.
    pub key: String,
    /// Where it stands, with its quotes.
    pub key_span: Range<usize>,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// `{}`
    pub fn empty_map() -> Node {
        Node { span: 0..2, kind: Kind::Map(Vec::new()), block: false }
    }

    /// Without its places. Of a key that stands twice the last value counts.
    pub fn value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) | Kind::Alias(value) => value.clone(),
            Kind::Map(entries) => {
                Value::Map(entries.iter().map(|e| (Arc::from(e.key.as_str()), e.node.value())).collect())
            }
            Kind::List(items) => Value::List(items.iter().map(Node::value).collect()),
        }
    }

    /// What a path leads to.
    pub fn at(&self, path: &[Step]) -> Option<&Node> {
        path.iter().try_fold(self, |node, step| match &node.kind {
            Kind::Map(entries) => entries.iter().rev().find(|e| e.key == step.text).map(|e| &e.node),
            Kind::List(items) => items.get(step.index()?),
            Kind::Scalar(_) | Kind::Alias(_) => None,
        })
    }
}

/// A text with a part replaced.
pub fn splice(text: &str, span: Range<usize>, new: &str) -> String {
    let head = text.get(..span.start).unwrap_or(text);
    let tail = text.get(span.end..).unwrap_or_default();
    format!("{head}{new}{tail}")
}

/// Where the line of a byte begins.
pub fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
}

/// Where the line of a byte ends, before its line end.
pub fn line_stop(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let stop = at + rest.find('\n').unwrap_or(rest.len());
    if text.get(at..stop).is_some_and(|line| line.ends_with('\r')) { stop - 1 } else { stop }
}

/// The spaces and tabs that the line of a byte begins with.
pub fn indent(text: &str, at: usize) -> &str {
    let line = text.get(line_start(text, at)..).unwrap_or_default();
    line.get(..line.len() - line.trim_start_matches([' ', '\t']).len()).unwrap_or_default()
}
