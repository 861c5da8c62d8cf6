//! The one layout, as changes of as few lines as possible.

use super::place::Marked;
use super::shape::{Shape, shape};
use super::{Source, TextChange};
use compiler::schema::schema;
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

/// What has to change when a character was typed at the end of the text before `at`: how far its line is indented.
pub fn typed(source: &Source, at: u32, character: &str) -> Vec<TextChange> {
    let head = source.text.get(..at as usize).unwrap_or_default();
    let start = head.rfind('\n').map_or(0, |n| n + 1);
    let line = source.text.get(start..).unwrap_or_default();
    let line = line.split('\n').next().unwrap_or_default().trim_end_matches('\r');
    if source.kind == Kind::Template {
        return Vec::new();
    }
    let above = || lines_above(source, start);
    let wanted = match character {
        // only a line that holds nothing yet
        "\n" if start > 0 && line.trim().is_empty() => above().next().map(indentation_below),
        "-" if line.trim() == "-" => below_dashes(above(), indentation(line)),
        ":" if line.ends_with(':') => key_of_the_root(source, start, line).then_some(0),
        _ => None,
    };
    let there = indentation(line);
    let Some(wanted) = wanted.filter(|wanted| *wanted != there) else { return Vec::new() };
    let blank = if character == "\n" { line.len() } else { there };
    vec![TextChange { span: Span::new(start as u32, (start + blank) as u32), new: " ".repeat(wanted) }]
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The lines above one that are not blank, the nearest first.
fn lines_above(source: &Source, start: usize) -> impl Iterator<Item = &str> {
    let head = source.text.get(..start.saturating_sub(1)).unwrap_or_default();
    head.rsplit('\n').filter(|l| !l.trim().is_empty())
}

/// Where the dash of a new item belongs: below the dashes of the list that it is typed in, or below the key that the line
/// above ends with. `None` in a text of several lines, which may have any dashes.
fn below_dashes<'t>(above: impl Iterator<Item = &'t str>, there: usize) -> Option<usize> {
    let mut least = usize::MAX;
    for line in above.filter(|l| !l.trim_start().starts_with('#')) {
        let column = indentation(line);
        // what is indented further than a line below it is inside of something that has ended
        if column >= least {
            continue;
        }
        let nearest = least == usize::MAX;
        least = column;
        let (own, ends) = content(line);
        match ends {
            Ends::Block if own < there => return None,
            Ends::Key if nearest && own <= there => return Some(own + 2),
            _ if own > column && column <= there => return Some(column),
            _ => {}
        }
    }
    None
}

/// Whether a key was typed where it cannot stand, and can at the root of the file: behind the resources of a module for
/// instance, whose lines are indented.
fn key_of_the_root(source: &Source, start: usize, line: &str) -> bool {
    let key = line.trim().trim_end_matches(':');
    let without = match (source.text.get(..start), source.text.get(start + line.len()..)) {
        (Some(head), Some(tail)) => format!("{head}{}{tail}", " ".repeat(indentation(line))),
        _ => return false,
    };
    let Some(marked) = Marked::new(&without, start + indentation(line)) else { return false };
    let typing = marked.typing();
    let here = shape(source.kind, &typing.way);
    let an_attribute = || schema().types.values().any(|t| t.attributes.contains_key(key));
    let fits = match here {
        Shape::Resource | Shape::Branch | Shape::Defaults => here.keys().contains(&key) || an_attribute(),
        // where names may be anything, this may be one
        _ => here.keys().is_empty() || here.keys().contains(&key),
    };
    let root = shape(source.kind, &[]);
    let missing = parse(&without).root.get(key).is_none();
    // what follows a key on a line of its own is a text
    typing.of.is_none() && !fits && indentation(line) > 0 && root.keys().contains(&key) && missing
}

/// How far what follows a line is indented, as far as the line alone tells.
fn indentation_below(line: &str) -> usize {
    if line.trim_start().starts_with('#') {
        return indentation(line);
    }
    let (own, ends) = content(line);
    if ends == Ends::Value { own } else { own + 2 }
}

/// What a line leaves open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// A key, whose value may follow.
    Key,
    /// The beginning of a text of several lines.
    Block,
    /// Nothing.
    Value,
}

/// Where the content of a line begins, and how it ends. Behind a dash the mapping of the item goes on below its first key.
fn content(line: &str) -> (usize, Ends) {
    let content = line.trim();
    let dashes = content.len() - content.trim_start_matches("- ").len();
    let own = indentation(line) + if content == "-" { 2 } else { dashes };
    let content = content.split(" #").next().unwrap_or_default().trim_end();
    let block = content
        .rsplit(": ")
        .next()
        .is_some_and(|v| v.starts_with(['|', '>']) && v.len() <= 3 && content.contains(": "));
    let ends = match () {
        () if content.ends_with(':') => Ends::Key,
        () if block => Ends::Block,
        () => Ends::Value,
    };
    (own, ends)
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

    #[test]
    fn a_dash_goes_below_the_dashes_of_its_list() {
        for (text, indent) in [
            ("resources:\n  - name: a\n    type: file\n    -$0\n", 2),
            ("resources:\n  - name: a\n    notify:\n    -$0\n", 6),
            ("resources:\n-$0\n", 2),
            ("resources:\n  - name: a\n    notify:\n      - b\n    -$0\n", 2),
            ("resources:\n  - name: a\n    notify:\n      - b\n      -$0\n", 6),
            ("resources:\n  - name: a\n    content: |\n      x\n    -$0\n", 2),
            // in a text anything may stand
            ("resources:\n  - name: a\n    content: |\n      x\n      -$0\n", 6),
            ("resources:\n  - name: a\n    content: |\n      -$0\n", 6),
        ] {
            let (s, at) = source(text);
            let after = applied(&s.text, &typed(&s, at, "-"));
            let line = after.lines().rfind(|l| l.trim() == "-").unwrap();
            assert_eq!(line.len() - 1, indent, "{text}{after}");
        }
        let (s, at) = source("resources:\n  - name: a-$0\n");
        assert_eq!(typed(&s, at, "-"), []);
    }

    #[test]
    fn a_key_of_the_module_goes_to_its_place() {
        let moved = |text: &str| {
            let (s, at) = source(text);
            let changes = typed(&s, at, ":");
            assert!(changes.len() < 2 && changes.iter().all(|c| c.new.is_empty()), "{changes:?}");
            !changes.is_empty()
        };
        let head = "name: a\nresources:\n  - name: x\n    type: file\n";
        assert!(moved(&format!("{head}    vars:$0\n")));
        for stays in [
            "    when:$0\n",
            "    mode:$0\n",
            "    content:$0\n",
            "    resources:$0\n",
            "    nonsense:$0\n",
            "vars:$0\n",
        ] {
            assert!(!moved(&format!("{head}{stays}")), "{stays}");
        }
        // a variable may have any name
        assert!(!moved("name: a\nvars:\n  b: 1\n  resources:$0\n"));
        assert!(!moved(&format!("{head}    content: |\n      vars:$0\n")));
    }
}
