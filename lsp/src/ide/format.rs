//! The one layout, as changes of as few lines as possible.

use super::{Source, TextChange};
use compiler::syntax::Kind;
use grammar::Span;
use grammar::document::parse;
use grammar::format::{format as laid_out, same};
use similar::{DiffOp, TextDiff};

/// What has to change for the layout of `vigoc fmt`; nothing in a file with syntax errors, whose lines may be
/// misunderstood.
pub fn format(source: &Source) -> Vec<TextChange> {
    if source.kind == Kind::Template {
        return Vec::new();
    }
    match laid_out(&source.text) {
        Ok(after) => difference(&source.text, &after),
        Err(_) => Vec::new(),
    }
}

/// The same for the lines of a part of a file. What would say something else without the rest is left as it is.
pub fn format_part(source: &Source, part: Span) -> Vec<TextChange> {
    let touches = |c: &TextChange| c.span.start <= part.end && part.start <= c.span.end;
    let changes: Vec<TextChange> = format(source).into_iter().filter(touches).collect();
    let after = parse(&applied(&source.text, &changes));
    let faithful = after.errors.is_empty() && same(&after.root, &parse(&source.text).root);
    if faithful { changes } else { Vec::new() }
}

/// Changes of lines that make one text of another.
pub fn difference(before: &str, after: &str) -> Vec<TextChange> {
    if before == after {
        return Vec::new();
    }
    let diff = TextDiff::from_lines(before, after);
    let starts = |text: &str| -> Vec<usize> {
        let mut at = 0;
        let mut out = vec![0];
        out.extend(text.split_inclusive('\n').map(|line| {
            at += line.len();
            at
        }));
        out
    };
    let (old, new) = (starts(before), starts(after));
    let at = |starts: &[usize], n: usize| starts.get(n).or(starts.last()).copied().unwrap_or(0);
    let ops = diff.ops().iter().filter(|op| !matches!(op, DiffOp::Equal { .. }));
    ops.map(|op| {
        let (from, to) = (op.old_range(), op.new_range());
        let span = Span::new(at(&old, from.start) as u32, at(&old, from.end) as u32);
        let new = after.get(at(&new, to.start)..at(&new, to.end)).unwrap_or_default().to_owned();
        TextChange { span, new }
    })
    .collect()
}

/// A text with changes made, which are in order and do not overlap.
fn applied(text: &str, changes: &[TextChange]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for change in changes {
        out.push_str(text.get(at..change.span.start as usize).unwrap_or_default());
        out.push_str(&change.new);
        at = change.span.end as usize;
    }
    out + text.get(at..).unwrap_or_default()
}

/// What has to change when a character was typed at the end of the text before `at`: how far a new line is indented.
pub fn typed(source: &Source, at: u32, character: &str) -> Vec<TextChange> {
    if source.kind == Kind::Template || character != "\n" {
        return Vec::new();
    }
    let head = source.text.get(..at as usize).unwrap_or_default();
    let start = head.rfind('\n').map_or(0, |n| n + 1);
    let line = source.text.get(start..).unwrap_or_default();
    let line = line.split('\n').next().unwrap_or_default();
    // only a line that holds nothing yet
    if start == 0 || !line.trim().is_empty() {
        return Vec::new();
    }
    let Some(above) = head.get(..start - 1).and_then(|h| h.rsplit('\n').find(|l| !l.trim().is_empty()))
    else {
        return Vec::new();
    };
    let wanted = " ".repeat(indentation_below(above));
    if wanted == line {
        return Vec::new();
    }
    vec![TextChange { span: Span::new(start as u32, (start + line.len()) as u32), new: wanted }]
}

/// How far what follows a line is indented, as far as the line alone tells.
fn indentation_below(line: &str) -> usize {
    let indent = line.len() - line.trim_start_matches(' ').len();
    let content = line.trim();
    if content.starts_with('#') {
        return indent;
    }
    // behind a dash the mapping of the item goes on below its first key
    let dashes = content.len() - content.trim_start_matches("- ").len();
    let own = indent + dashes;
    let content = content.split(" #").next().unwrap_or_default().trim_end();
    let block = content
        .rsplit(": ")
        .next()
        .is_some_and(|v| v.starts_with(['|', '>']) && v.len() <= 3 && content.contains(": "));
    if content.ends_with(':') || block { own + 2 } else { own }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::Fixture;

    fn source(text: &str) -> (Source, u32) {
        let fixture = Fixture::new(&format!("//- modules/a.vgo\n{text}"));
        (fixture.ide().source("modules/a.vgo").unwrap(), fixture.at)
    }

    #[test]
    fn only_lines_that_differ_change() {
        let (s, _) = source("name: a\nvars:\n    b:   1\n    c: 2 # two\nresources: []\n");
        let changes = format(&s);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(applied(&s.text, &changes), laid_out(&s.text).unwrap());
        assert!(s.slice(changes[0].span).starts_with("    b:"));
        let (broken, _) = source("name: [a\nvars:\n    b:   1\n");
        assert_eq!(format(&broken), []);
    }

    #[test]
    fn a_part_never_changes_the_meaning() {
        let (s, _) = source("name: a\nvars:\n    b: 1\n    c: 2\nresources:   []\n");
        // half of a mapping cannot move alone; what stands for itself can
        let at = s.text.find("resources").unwrap() as u32;
        let changes = format_part(&s, Span::new(at + 2, at + 2));
        assert!(applied(&s.text, &changes).ends_with("resources: []\n"), "{changes:?}");
        for at in 0..s.text.len() as u32 {
            let after = parse(&applied(&s.text, &format_part(&s, Span::new(at, at))));
            assert!(same(&after.root, &parse(&s.text).root));
        }
    }

    #[test]
    fn a_new_line_is_indented_as_the_one_above_asks() {
        for (text, indent) in [
            ("vars:\n$0", 2),
            ("resources:\n  - name: a\n$0", 4),
            ("resources:\n  - name: a\n    content: |\n$0", 6),
            ("resources:\n  - name: a\n    content: |\n      x\n$0", 6),
            ("vars:\n  a: 1\n$0", 2),
            ("vars: # all\n$0", 2),
        ] {
            let (s, at) = source(text);
            let changes = typed(&s, at, "\n");
            let new = changes.first().map_or(0, |c| c.new.len());
            assert_eq!(new, indent, "{text}");
        }
        let (s, at) = source("vars:\n$0  a: 1\n");
        assert_eq!(typed(&s, at, "\n"), []);
    }
}
