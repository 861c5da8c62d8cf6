//! Brackets on one line.

use crate::document::{Entry, Node, Value};

/// The value on one line, or nothing when it was written on several.
pub(super) fn line(source: &str, node: &Node) -> Option<String> {
    if source.get(node.span.range())?.contains('\n') {
        return None;
    }
    let mut out = String::new();
    value(source, node, &mut out);
    Some(out)
}

/// Whether a list or mapping is written in brackets. A single pair in brackets has none of its own.
pub(super) fn in_brackets(source: &str, node: &Node) -> bool {
    matches!(source.as_bytes().get(node.span.start as usize), Some(b'[' | b'{'))
}

fn value(source: &str, node: &Node, out: &mut String) {
    match &node.value {
        Value::Null | Value::Error => {}
        Value::Scalar(_) => out.push_str(source.get(node.span.range()).unwrap_or_default()),
        Value::Seq(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                match &item.value {
                    Value::Map(entries) if !in_brackets(source, item) => {
                        entries.iter().for_each(|pair| self::entry(source, pair, out));
                    }
                    _ => value(source, item, out),
                }
            }
            out.push(']');
        }
        Value::Map(entries) if entries.is_empty() => out.push_str("{}"),
        Value::Map(entries) => {
            out.push_str("{ ");
            for (index, entry) in entries.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                self::entry(source, entry, out);
            }
            out.push_str(" }");
        }
    }
}

fn entry(source: &str, entry: &Entry, out: &mut String) {
    out.push_str(source.get(entry.key.span.range()).unwrap_or_default());
    match entry.value.value {
        // `{a}` or `{a:}`
        Value::Null if entry.value.span.start <= entry.key.span.end => {}
        Value::Null => out.push(':'),
        _ => {
            out.push_str(": ");
            value(source, &entry.value, out);
        }
    }
}
