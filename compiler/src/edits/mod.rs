//! Edits that take more than the place of a finding to know: the text around it is read, and what the edit leaves is read
//! again before it is offered.

pub mod removal;
mod trigger;

use crate::diagnostic::{Diagnostic, Severity};
use grammar::Span;
use grammar::document::{Entry, Node, Parsed, Value, parse};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Findings of one file that get an edit at a time. Each costs a reading of the file; `fix` comes back for more.
const MOST_OF_FILE: usize = 100;

/// Offers edits: to delete what nothing uses, and to tie to a change what acts in every run.
///
/// Nothing is called unused where the policy has errors: what a mistake cuts off is not looked for.
pub fn offer(found: &mut [Diagnostic], text_of: &dyn Fn(&str) -> Option<Arc<str>>) {
    let errors = found.iter().any(|d| d.severity == Severity::Error);
    let mut by_file: BTreeMap<Arc<str>, Vec<&mut Diagnostic>> = BTreeMap::new();
    for d in found {
        if trigger::concerns(d) || (!errors && removal::concerns(d)) {
            by_file.entry(d.place.file.clone()).or_default().push(d);
        }
    }
    for (file, findings) in by_file {
        let Some(text) = text_of(&file) else { continue };
        let file = File { text: &text, parsed: parse(&text) };
        for d in findings.into_iter().take(MOST_OF_FILE) {
            if trigger::concerns(d) {
                trigger::offer(d, &file);
            } else {
                removal::offer(d, &file);
            }
        }
    }
}

struct File<'a> {
    text: &'a str,
    parsed: Parsed,
}

/// The way down to something: at each step the node and which of its children.
type Path<'a> = Vec<(&'a Node, usize)>;

impl File<'_> {
    /// Where the text of a value ends: block text ends with the line that follows it.
    fn end(&self, span: Span) -> usize {
        let text = self.text.get(span.range()).unwrap_or_default();
        span.start as usize + text.trim_end().len()
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |n| n + 1)
    }

    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |n| at + n)
    }
}

/// Finds the way to the key or the text with this place.
fn find<'a>(node: &'a Node, at: Span, path: &mut Path<'a>) -> bool {
    let inside = |span: Span| span.start <= at.start && at.end <= span.end;
    for n in 0.. {
        let Some(span) = child(node, n) else { return false };
        if !inside(span) {
            continue;
        }
        path.push((node, n));
        let below = match &node.value {
            Value::Map(entries) => match entries.get(n) {
                Some(e) if e.key.span == at || e.value.span == at => return true,
                Some(e) => &e.value,
                None => return false,
            },
            Value::Seq(items) => match items.get(n) {
                Some(item) => item,
                None => return false,
            },
            _ => return false,
        };
        return find(below, at, path);
    }
    false
}

fn entry(node: &Node, n: usize) -> Option<&Entry> {
    node.as_map()?.get(n)
}

/// The place of a child.
fn child(node: &Node, n: usize) -> Option<Span> {
    match &node.value {
        Value::Map(entries) => entries.get(n).map(Entry::span),
        Value::Seq(items) => items.get(n).map(|item| item.span),
        _ => None,
    }
}

/// Whether two values are the same, wherever they stand.
fn same(old: &Node, new: &Node) -> bool {
    match (&old.value, &new.value) {
        (Value::Null, Value::Null) => true,
        (Value::Scalar(a), Value::Scalar(b)) => a.text == b.text && a.style == b.style,
        (Value::Seq(a), Value::Seq(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| a.key.text == b.key.text && same(&a.value, &b.value))
        }
        _ => false,
    }
}
