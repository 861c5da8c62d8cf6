//! A change as lines of text, for people: concise, or all of it.

use crate::commands::output;
use crate::commands::residual::attribute_text;
use crate::plan::{Change, Part, Resource};
use crate::schema::schema;
use ir::unparse::{template_text, when_text};
use ir::{Expr, Hash, Value};
use similar::{Algorithm, ChangeTag, TextDiffConfig};
use std::sync::Arc;
use std::time::Duration;

/// A line: how deep it stands, `+`, `-`, `~`, `@` or a blank, and its text without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) depth: usize,
    pub(super) mark: char,
    pub(super) text: String,
}

/// How much of a change is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Characters of a value.
    pub(super) wide: usize,
    /// Lines of a difference between two texts.
    pub(super) diff: usize,
    /// Every attribute of what is new or gone.
    pub(super) whole: bool,
}

impl Budget {
    pub(super) const CONCISE: Budget = Budget { wide: 72, diff: 12, whole: false };
    pub(super) const ALL: Budget = Budget { wide: usize::MAX, diff: usize::MAX, whole: true };
}

/// The lines of a change; the first is its heading.
pub(super) fn lines(change: &Change, budget: Budget) -> Vec<Line> {
    let mut out = Lines { out: Vec::new(), budget };
    match change {
        Change::ModuleAdded { module, resources } => out.module('+', module, resources),
        Change::ModuleRemoved { module, resources } => out.module('-', module, resources),
        Change::ModuleChanged { module, parts } => {
            out.line(0, '~', format!("module {module}"));
            out.parts(parts);
        }
        Change::Added { module, resource } => out.resource(0, '+', Some(module), resource),
        Change::Removed { module, resource } => out.resource(0, '-', Some(module), resource),
        Change::Changed { module, name, kind, parts } => {
            out.line(0, '~', format!("{module}.{name}  ({kind})"));
            out.parts(parts);
        }
        Change::Moved { module, moves } => {
            match module {
                Some(module) => out.line(0, '~', format!("{module} only runs in another order")),
                None => out.line(0, '~', "modules run in another order".into()),
            }
            let shown = if budget.whole { moves.len() } else { 4 };
            for moved in moves.iter().take(shown) {
                let place = moved.after.as_ref().map_or("first".to_owned(), |after| format!("after {after}"));
                out.line(1, ' ', format!("{} now runs {place}", moved.name));
            }
            out.more(1, moves.len().saturating_sub(shown), "move");
        }
    }
    out.out
}

struct Lines {
    out: Vec<Line>,
    budget: Budget,
}

impl Lines {
    fn line(&mut self, depth: usize, mark: char, text: String) {
        self.out.push(Line { depth, mark, text: printable(&text) });
    }

    fn more(&mut self, depth: usize, left: usize, noun: &str) {
        if left > 0 {
            let left = output::count(left, &format!("more {noun}"));
            self.line(depth, ' ', format!("… {left}"));
        }
    }

    fn module(&mut self, mark: char, module: &str, resources: &[Resource]) {
        self.line(0, mark, format!("module {module}  ({})", output::count(resources.len(), "resource")));
        let shown = if self.budget.whole { resources.len() } else { 4 };
        for r in resources.iter().take(shown) {
            self.resource(1, mark, None, r);
        }
        self.more(1, resources.len().saturating_sub(shown), "resource");
    }

    fn resource(&mut self, depth: usize, mark: char, module: Option<&Arc<str>>, r: &Resource) {
        let kind = schema().types.get(&r.kind);
        let value =
            |name: &str| r.attributes.iter().find(|(known, _)| **known == *name).map(|(_, value)| value);
        let key = kind.and_then(|kind| value(&kind.key)).map(|key| format!(" {}", self.value(key)));
        let name = match module {
            Some(module) => format!("{module}.{}", r.name),
            None => r.name.to_string(),
        };
        self.line(depth, mark, format!("{name}  ({}{})", r.kind, key.unwrap_or_default()));
        if !self.budget.whole {
            return;
        }
        if let Some(when) = &r.when {
            self.line(depth + 1, ' ', format!("when: {}", when_text(when)));
        }
        // what the type gives everyone says nothing about this one
        let default = |name: &str| kind.and_then(|k| k.attributes.get(name)).and_then(|a| a.default.as_ref());
        let own = r
            .attributes
            .iter()
            .filter(|(name, value)| value.as_const().is_none_or(|value| default(name) != Some(value)));
        for (name, value) in own {
            self.line(depth + 1, ' ', format!("{name}: {}", self.value(value)));
        }
        for (title, list) in [("after", &r.depends_on), ("notifies", &r.notify)] {
            if !list.is_empty() {
                self.line(depth + 1, ' ', format!("{title}: {}", list.join(", ")));
            }
        }
    }

    fn parts(&mut self, parts: &[Part]) {
        for part in parts {
            match part {
                Part::Type { old, new } => self.line(1, ' ', format!("type: {old} → {new}")),
                Part::When { old, new } => {
                    let text = |e: &Option<Expr>| e.as_ref().map_or("always".to_owned(), when_text);
                    self.line(1, ' ', format!("when: {} → {}", text(old), text(new)));
                }
                Part::Attribute { name, old, new } => self.attribute(name, old.as_ref(), new.as_ref()),
                Part::Edges { key, added, removed } => {
                    let title = if *key == "notify" { "notifies" } else { "after" };
                    for (mark, list) in [('-', removed), ('+', added)] {
                        if !list.is_empty() {
                            self.line(1, mark, format!("{title}: {}", list.join(", ")));
                        }
                    }
                }
            }
        }
    }

    fn attribute(&mut self, name: &str, old: Option<&Expr>, new: Option<&Expr>) {
        let (Some(old), Some(new)) = (old, new) else {
            let (mark, value) = match (old, new) {
                (Some(old), _) => ('-', old),
                (_, Some(new)) => ('+', new),
                (None, None) => return,
            };
            self.line(1, mark, format!("{name}: {}", self.value(value)));
            return;
        };
        match (text(old), text(new)) {
            (Some(before), Some(now)) if before.contains('\n') || now.contains('\n') => {
                self.line(1, ' ', format!("{name}:"));
                self.difference(&before, &now);
            }
            _ => self.line(1, ' ', format!("{name}: {} → {}", self.value(old), self.value(new))),
        }
    }

    fn difference(&mut self, old: &str, new: &str) {
        if old.len().max(new.len()) > MAX_DIFFED {
            let about = |text: &str| {
                format!(
                    "{} (sha256 {})",
                    output::count(text.len(), "byte"),
                    Hash::of(text.as_bytes()).short()
                )
            };
            return self.line(2, ' ', format!("{} → {}", about(old), about(new)));
        }
        let mut config = TextDiffConfig::default();
        config.algorithm(Algorithm::Myers).timeout(Duration::from_millis(500));
        let diff = config.diff_lines(old, new);
        let mut all = Vec::new();
        for hunk in diff.unified_diff().context_radius(2).iter_hunks() {
            all.push(('@', hunk.header().to_string()));
            for change in hunk.iter_changes() {
                let mark = match change.tag() {
                    ChangeTag::Equal => ' ',
                    ChangeTag::Delete => '-',
                    ChangeTag::Insert => '+',
                };
                let line = change.value();
                let end = if line.ends_with('\n') { "" } else { "  (no newline at the end)" };
                all.push((mark, format!("{}{end}", line.trim_end_matches(['\n', '\r']))));
            }
        }
        let most = self.budget.diff;
        let left = all.len().saturating_sub(most);
        for (mark, text) in all.into_iter().take(most) {
            let text = output::short(&text, self.budget.wide.max(160));
            self.line(2, mark, text);
        }
        self.more(2, left, "line");
    }

    /// On one line.
    fn value(&self, value: &Expr) -> String {
        match value {
            Expr::Const(Value::Bytes(b)) => {
                format!("{} (sha256 {})", output::count(b.len(), "byte"), Hash::of(b).short())
            }
            value => output::short(&attribute_text(value), self.budget.wide),
        }
    }
}

/// Larger texts are named by size and hash.
const MAX_DIFFED: usize = 1 << 20;

/// Text that can be compared line by line: what is known, or the template that the agent finishes.
fn text(value: &Expr) -> Option<String> {
    match value {
        Expr::Const(Value::Str(s)) => Some(s.to_string()),
        Expr::Const(_) => None,
        Expr::Template(_) => Some(template_text(value)),
        _ => None,
    }
}

/// What does something else than being seen made visible: a policy cannot drive the terminal of who reviews it.
fn printable(text: &str) -> String {
    let odd = |c: char| ir::is_unseen(c) && c != '\t';
    if !text.contains(odd) {
        return text.to_owned();
    }
    text.chars().map(|c| if odd(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(old: &str, new: &str) -> Change {
        let value = |text: &str| Some(Expr::Const(Value::str(text)));
        let parts = vec![Part::Attribute { name: "content".into(), old: value(old), new: value(new) }];
        Change::Changed { module: "m".into(), name: "r".into(), kind: "file".into(), parts }
    }

    fn shown(change: &Change, budget: Budget) -> String {
        let all = lines(change, budget);
        all.iter().map(|l| format!("{}{}{}\n", "  ".repeat(l.depth), l.mark, l.text)).collect()
    }

    #[test]
    fn texts_are_compared_line_by_line() {
        let text = shown(&change("a\nb\nc\n", "a\nB\nc\n"), Budget::CONCISE);
        assert_eq!(text, "~m.r  (file)\n   content:\n    @@@ -1,3 +1,3 @@\n     a\n    -b\n    +B\n     c\n");
    }

    #[test]
    fn a_long_difference_is_cut_and_says_so() {
        let many: String = (0..100).map(|n| format!("{n}\n")).collect();
        let text = shown(&change("", &many), Budget::CONCISE);
        assert!(text.ends_with("… 89 more lines\n"), "{text}");
        assert!(!shown(&change("", &many), Budget::ALL).contains('…'));
    }

    #[test]
    fn nothing_drives_the_terminal() {
        let text = shown(&change("a\n", "\u{1b}[31mred\u{202e}\n"), Budget::ALL);
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
        assert!(text.contains("\\u{1b}[31mred"), "{text:?}");
    }

    #[test]
    fn a_secret_is_named_only() {
        let secret = Expr::Const(Value::Secret("web/db".into()));
        let parts = vec![Part::Attribute { name: "content".into(), old: None, new: Some(secret) }];
        let change = Change::Changed { module: "m".into(), name: "r".into(), kind: "file".into(), parts };
        assert!(shown(&change, Budget::ALL).contains("+content: secret:web/db"));
    }
}
