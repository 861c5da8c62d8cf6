//! What can be folded: mappings, items, long texts, comments, and the blocks of templates.

use super::Source;
use super::expression::{Expression, expressions};
use compiler::syntax::Kind;
use grammar::document::{Node, Parsed, Value};
use std::collections::BTreeSet;

/// Lines, from 0, of which the first stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fold {
    /// Stays to be seen.
    pub first: u32,
    /// The last that goes.
    pub last: u32,
    /// Whether it is a comment.
    pub comment: bool,
}

/// Everything that can be folded.
pub fn folds(source: &Source) -> Vec<Fold> {
    let parsed = source.parsed();
    let starts: Vec<usize> =
        std::iter::once(0).chain(source.text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let line = |at: u32| starts.partition_point(|s| *s <= at as usize).saturating_sub(1) as u32;
    let mut out = BTreeSet::new();
    if source.kind == Kind::Template {
        blocks(source, &expressions(source, &parsed), &line, &mut out);
    } else {
        let work = Work { source, line: &line };
        work.node(&parsed.root, None, &mut out);
        comments(&parsed, &line, &mut out);
    }
    out.into_iter().collect()
}

struct Work<'a> {
    source: &'a Source,
    line: &'a dyn Fn(u32) -> u32,
}

impl Work<'_> {
    /// `head` is the line that stays.
    fn node(&self, node: &Node, head: Option<u32>, out: &mut BTreeSet<Fold>) {
        let written = self.source.slice(node.span);
        let last = (self.line)(node.span.start + written.trim_end().len() as u32);
        let first = head.unwrap_or_else(|| (self.line)(node.span.start));
        if last > first && head.is_some() {
            out.insert(Fold { first, last, comment: false });
        }
        match &node.value {
            Value::Map(entries) => {
                for entry in entries {
                    self.node(&entry.value, Some((self.line)(entry.key.span.start)), out);
                }
            }
            Value::Seq(items) => {
                for item in items {
                    self.node(item, Some((self.line)(item.span.start)), out);
                }
            }
            _ => {}
        }
    }
}

fn comments(parsed: &Parsed, line: &dyn Fn(u32) -> u32, out: &mut BTreeSet<Fold>) {
    let mut run: Option<(u32, u32)> = None;
    let mut end = |run: &mut Option<(u32, u32)>| {
        if let Some((first, last)) = run.take()
            && last > first
        {
            out.insert(Fold { first, last, comment: true });
        }
    };
    for comment in parsed.comments.iter().filter(|c| c.own_line) {
        let at = line(comment.span.start);
        match &mut run {
            Some((_, last)) if *last + 1 == at => *last = at,
            _ => {
                end(&mut run);
                run = Some((at, at));
            }
        }
    }
    end(&mut run);
}

/// From `if`, `range` and `with` to the line before their `else` or `end`.
fn blocks(source: &Source, all: &[Expression], line: &dyn Fn(u32) -> u32, out: &mut BTreeSet<Fold>) {
    let mut open: Vec<u32> = Vec::new();
    for e in all {
        let text = source.slice(e.span);
        let here = line(e.span.start);
        let word = text.trim_start().split([' ', '\t', '\n', '}']).next().unwrap_or_default();
        if matches!(word, "end" | "else")
            && let Some(first) = open.pop()
            && here > first + 1
        {
            out.insert(Fold { first, last: here - 1, comment: false });
        }
        if matches!(word, "if" | "range" | "with" | "else") {
            open.push(here);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::Fixture;

    fn of(path: &str, text: &str) -> Vec<(u32, u32)> {
        let fixture = Fixture::new(&format!("//- {path}\n{text}"));
        let source = fixture.ide().source(path).unwrap();
        folds(&source).iter().map(|f| (f.first, f.last)).collect()
    }

    #[test]
    fn mappings_items_texts_and_comments_fold() {
        let text = "# one\n# two\nname: a\nresources:\n  - name: b\n    type: file\n    content: |\n      x\n      y\n\n  - name: c\n    type: file\n";
        assert_eq!(of("modules/a.vgo", text), [(0, 1), (3, 11), (4, 8), (6, 8), (10, 11)]);
    }

    #[test]
    fn blocks_of_templates_fold() {
        let text = "{{ if .Vars.a }}\nx\n{{ else }}\ny\n{{ range .Vars.b }}\nz\n{{ end }}\n{{ end }}\n";
        assert_eq!(of("templates/a", text), [(0, 1), (2, 6), (4, 5)]);
    }
}
