//! Reads the keys of a mapping: each once, unknown ones reported with the nearest known one.

use super::Name;
use crate::diagnostic::Sink;
use crate::diagnostic::codes::{INVALID_NAME, MISSING_KEY, OLDER_SPELLING, UNKNOWN_KEY, WRONG_KIND};
use crate::diagnostic::nearest::{listed, nearest};
use crate::kept::kept;
use grammar::Span;
use grammar::document::{Entry, Node, Value};
use std::sync::Arc;

/// The keys of one mapping that were not taken yet.
pub struct Fields<'a> {
    entries: Vec<Entry>,
    known: &'a [&'a str],
    what: &'a str,
    span: Span,
}

impl<'a> Fields<'a> {
    /// `None`, with a finding, when the node is no mapping. `what` names the place in messages.
    pub fn of(node: Node, what: &'a str, known: &'a [&'a str], sink: &mut Sink) -> Option<Self> {
        match node.value {
            Value::Map(entries) => Some(Fields { entries, known, what, span: node.span }),
            Value::Error => None,
            Value::Null => Some(Fields { entries: Vec::new(), known, what, span: node.span }),
            other => {
                wrong_kind(sink, node.span, what, "a mapping (`key: value`)", &other);
                None
            }
        }
    }

    /// The mapping's place.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Takes a key.
    pub fn take(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|e| e.key.text == key)?;
        Some(self.entries.remove(at))
    }

    /// Takes a key under its older name, with a hint.
    pub fn take_older(&mut self, key: &str, older: &[&str], sink: &mut Sink) -> Option<Entry> {
        if let Some(entry) = self.take(key) {
            return Some(entry);
        }
        let entry = older.iter().find_map(|o| self.take(o))?;
        let message = format!("`{}:` is an older spelling of `{key}:`", entry.key.text);
        let hint = sink
            .say(&OLDER_SPELLING, entry.key.span, message)
            .label("older spelling")
            .help(format!("write `{key}:`"))
            .fix(entry.key.span, key);
        sink.push(hint);
        Some(entry)
    }

    /// Takes a key that must be there.
    pub fn need(&mut self, key: &str, sink: &mut Sink) -> Option<Entry> {
        let entry = self.take(key);
        if entry.is_none() {
            let what = self.what;
            let near = nearest(key, self.entries.iter().map(|e| e.key.text.as_str()));
            let help = near.map(|n| format!("`{n}:` is there; is it a misspelt `{key}:`?"));
            let finding = sink
                .say(&MISSING_KEY, start_of(self.span), format!("{what} has no `{key}:`"))
                .label(format!("`{key}:` is missing"))
                .maybe_help(help);
            sink.push(finding);
        }
        entry
    }

    /// What is left, unreported.
    pub fn rest(self) -> Vec<Entry> {
        self.entries
    }

    /// Reports what is left.
    pub fn finish(self, sink: &mut Sink) {
        // A line that was no `key: value` at all has been reported as that.
        for entry in self.entries.iter().filter(|entry| !entry.value.is_error()) {
            let finding = sink
                .say(&UNKNOWN_KEY, entry.key.span, format!("{} has no key `{}`", self.what, entry.key.text))
                .label("unknown key");
            let finding = match nearest(&entry.key.text, self.known.iter().copied()) {
                Some(near) => finding.help(format!("did you mean `{near}`?")).guess(entry.key.span, near),
                None => finding.help(format!("known keys: {}", listed(self.known.iter().copied()))),
            };
            sink.push(finding);
        }
    }
}

/// The first character of a span, for findings about something large.
pub fn start_of(span: Span) -> Span {
    Span::new(span.start, span.end.min(span.start + 1))
}

/// Says that something else was due.
pub fn wrong_kind(sink: &mut Sink, span: Span, what: &str, due: &str, found: &Value) {
    let found = match found {
        Value::Null => "nothing",
        Value::Scalar(_) => "text",
        Value::Seq(_) => "a list",
        Value::Map(_) => "a mapping",
        Value::Error => return,
    };
    let span = if matches!(found, "a list" | "a mapping") { start_of(span) } else { span };
    let finding =
        sink.say(&WRONG_KIND, span, format!("{what} is {due}, not {found}")).label(format!("{found} here"));
    sink.push(finding);
}

/// Text of a scalar.
pub fn text(node: &Node, what: &str, sink: &mut Sink) -> Option<Name> {
    match &node.value {
        Value::Scalar(s) => Some(Name { text: Arc::from(s.text.as_str()), span: node.span }),
        other => {
            wrong_kind(sink, node.span, what, "text", other);
            None
        }
    }
}

/// A name of a module, role, variable or environment.
pub fn name(node: &Node, what: &str, sink: &mut Sink) -> Option<Name> {
    let name = text(node, what, sink)?;
    check_name(&name, what, sink).then_some(name)
}

/// Whether a name has only the characters that names have; reports it if not.
pub fn check_name(name: &Name, what: &str, sink: &mut Sink) -> bool {
    if is_name(&name.text) {
        return true;
    }
    let finding = sink
        .say(&INVALID_NAME, name.span, format!("`{}` cannot be {what}", name.text))
        .label("not a name")
        .help("names have letters, digits, `_` and `-`, and do not begin with `-`");
    sink.push(finding);
    false
}

/// `[A-Za-z0-9_][A-Za-z0-9_-]*`
pub fn is_name(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && !text.is_empty()
        && !text.starts_with('-')
}

/// A list of names; a single name stands for a list of one.
pub fn names(node: Node, what: &str, check: bool, sink: &mut Sink) -> Vec<Name> {
    let items = match node.value {
        Value::Seq(items) => items,
        Value::Scalar(_) => vec![node],
        Value::Null => Vec::new(),
        other => {
            wrong_kind(sink, node.span, what, "a list of names", &other);
            Vec::new()
        }
    };
    kept(
        items
            .iter()
            .filter_map(|n| if check { name(n, "a name", sink) } else { text(n, "each of them", sink) }),
    )
}
