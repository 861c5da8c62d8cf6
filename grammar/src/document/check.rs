//! What can be said only about a whole mapping: keys that are there twice, and merge keys.

use super::build::is_missing_key;
use super::{Entry, Node, Style, Value};
use crate::error::{Sink, SyntaxError};
use std::collections::HashMap;

/// Mappings up to this size are compared pair by pair.
const SMALL: usize = 8;

/// Reports and drops what a mapping cannot keep. The recursion is bounded by the nesting limit.
pub(super) fn node(node: &mut Node, sink: &mut Sink) {
    match &mut node.value {
        Value::Seq(items) => items.iter_mut().for_each(|item| self::node(item, sink)),
        Value::Map(entries) => {
            keys(entries, sink);
            entries.iter_mut().for_each(|entry| self::node(&mut entry.value, sink));
        }
        Value::Null | Value::Scalar(_) | Value::Error => {}
    }
}

fn keys(entries: &mut Vec<Entry>, sink: &mut Sink) {
    let mut drop: Vec<usize> = Vec::new();
    let first_of = duplicates(entries);
    for (index, entry) in entries.iter().enumerate() {
        if is_missing_key(&entry.key) {
            drop.push(index);
        } else if entry.key.text == "<<" && entry.key.style == Style::Plain {
            sink.push(
                SyntaxError::new(
                    "merge-key",
                    entry.key.span,
                    "merge keys (`<<`) are not part of the language",
                    "merge key",
                )
                .help("write the keys out, or put what is shared into `defaults:`, a role or a variable"),
            );
            drop.push(index);
        } else if let Some(first) = first_of(index).and_then(|i| entries.get(i)) {
            sink.push(
                SyntaxError::new(
                    "duplicate-key",
                    entry.key.span,
                    format!("the key `{}` is already there", super::words::shorten(&entry.key.text)),
                    "second time",
                )
                .help("remove one of the two, or rename it")
                .related(first.key.span, "first time"),
            );
            drop.push(index);
        }
    }
    if !drop.is_empty() {
        let mut index = 0;
        let mut dropped = drop.into_iter().peekable();
        entries.retain(|_| {
            let gone = dropped.next_if_eq(&index).is_some();
            index += 1;
            !gone
        });
    }
}

/// For an index, the index of the first entry with the same key, if that is another one.
fn duplicates(entries: &[Entry]) -> impl Fn(usize) -> Option<usize> + use<> {
    let mut found: HashMap<usize, usize> = HashMap::new();
    if entries.len() <= SMALL {
        for (index, entry) in entries.iter().enumerate() {
            if let Some(first) = entries[..index].iter().position(|e| e.key.text == entry.key.text) {
                found.insert(index, first);
            }
        }
    } else {
        let mut seen: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let first = *seen.entry(&entry.key.text).or_insert(index);
            if first != index {
                found.insert(index, first);
            }
        }
    }
    move |index| found.get(&index).copied()
}
