//! What to delete when an entry of a file is to go: the entry with the comments that are about it, and nothing else. What
//! is left has to be laid out as before, which is not assumed but tried: the text without it is parsed again, and must say
//! all the rest and no more.

use super::{File, Path, child, entry, find, same};
use crate::diagnostic::Diagnostic;
use crate::diagnostic::codes::{UNUSED_ROLE, UNUSED_VARIABLE};
use grammar::Span;
use grammar::document::{Comment, Node, Value, parse};

/// The help of a finding whose variable may go.
pub const TAKE_OUT: &str = "take it out, or use it";

/// Whether a finding is about something that may go.
///
/// A module that nothing uses is a whole file, and no edit deletes files.
pub(super) fn concerns(d: &Diagnostic) -> bool {
    // another help says which name may have been meant: then it is more likely a slip of the fingers
    let variable = d.code == UNUSED_VARIABLE.slug && d.help.as_deref() == Some(TAKE_OUT);
    variable || d.code == UNUSED_ROLE.slug
}

/// Offers to delete a variable or a role that nothing uses.
pub(super) fn offer(d: &mut Diagnostic, file: &File<'_>) {
    let of = if d.code == UNUSED_ROLE.slug { Of::Item } else { Of::Entry };
    if let Some(span) = file.removal(d.place.span, of) {
        *d = d.clone().fix(span, "");
    }
}

/// What goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// The entry with this key or value.
    Entry,
    /// The item of a list that has this name.
    Item,
}

impl File<'_> {
    /// What to delete to get rid of what is found at `at`.
    fn removal(&self, at: Span, of: Of) -> Option<Span> {
        let mut path = Path::new();
        find(&self.parsed.root, at, &mut path).then_some(())?;
        if of == Of::Item {
            path.pop();
        }
        loop {
            let (node, n) = *path.last()?;
            let alone = match &node.value {
                Value::Map(entries) => entries.len() == 1,
                Value::Seq(items) => items.len() == 1,
                _ => return None,
            };
            if !alone {
                let span = self.deletion(node, n)?;
                return self.leaves_the_rest(&path, span).then_some(span);
            }
            // an empty `vars:` goes too
            path.pop();
            let (parent, of) = *path.last()?;
            if !entry(parent, of).is_some_and(|e| matches!(e.key.text.as_str(), "vars" | "params")) {
                return None;
            }
        }
    }

    /// The text of a child of a mapping or a list, with what is about it.
    fn deletion(&self, node: &Node, n: usize) -> Option<Span> {
        let own = child(node, n)?;
        let (start, end) = (own.start as usize, self.end(own));
        let line = self.line_start(start);
        let head = self.text.get(line..start)?;
        let tail = self.text.get(end..self.line_end(end))?;
        let tail_is_comment = self.comment_in(end, self.line_end(end)).is_some_and(|c| {
            self.text.get(end..c.span.start as usize).is_some_and(|blank| blank.trim().is_empty())
        });
        let bullet = head.trim_start_matches(' ');
        let alone_before = bullet.is_empty() || (bullet.trim_end() == "-" && node.as_seq().is_some());
        if alone_before && (tail.trim().is_empty() || tail_is_comment) {
            return Some(Span::new(self.above(line) as u32, self.after(line, end) as u32));
        }
        // on one line with others
        let count = node.as_map().map(<[_]>::len).or(node.as_seq().map(<[_]>::len))?;
        let span = if n + 1 < count {
            Span::new(own.start, child(node, n + 1)?.start)
        } else {
            Span::new(self.end(child(node, n.checked_sub(1)?)?) as u32, end as u32)
        };
        // a comment in between may be about something else
        self.comment_in(span.start as usize, span.end as usize).is_none().then_some(span)
    }

    /// The first line of the comments that stand directly above a line.
    fn above(&self, line: usize) -> usize {
        let mut start = line;
        while start > 0 {
            let before = self.line_start(start - 1);
            let is_comment = self.comment_in(before, start - 1).is_some_and(|c| c.own_line);
            let indent = |at: usize| self.text[at..].chars().take_while(|c| *c == ' ').count();
            if !is_comment || indent(before) != indent(line) {
                break;
            }
            start = before;
        }
        start
    }

    /// The beginning of the line behind what ends at `end`, with the comments that are indented below `line`.
    fn after(&self, line: usize, end: usize) -> usize {
        let indent = |at: usize| self.text[at..].chars().take_while(|c| *c == ' ').count();
        let mut next = (self.line_end(end) + 1).min(self.text.len());
        while next < self.text.len() {
            let end = self.line_end(next);
            let is_comment = self.comment_in(next, end).is_some_and(|c| c.own_line);
            if !is_comment || indent(next) <= indent(line) {
                break;
            }
            next = (end + 1).min(self.text.len());
        }
        next
    }

    fn comment_in(&self, start: usize, end: usize) -> Option<Comment> {
        self.parsed.comments.iter().copied().find(|c| (start..end).contains(&(c.span.start as usize)))
    }

    /// Whether the text without this has everything but what the path leads to, and no new errors.
    fn leaves_the_rest(&self, path: &Path<'_>, edit: Span) -> bool {
        let (Some(before), Some(after)) =
            (self.text.get(..edit.start as usize), self.text.get(edit.end as usize..))
        else {
            return false;
        };
        let now = parse(&[before, after].concat());
        now.errors.len() <= self.parsed.errors.len() && same_but(&self.parsed.root, &now.root, path)
    }
}

/// Whether `new` is `old` without what the path leads to.
fn same_but(old: &Node, new: &Node, path: &[(&Node, usize)]) -> bool {
    let Some(((_, n), below)) = path.split_first() else { return same(old, new) };
    let at = |here: usize, old: &Node, new: &Node| match here == *n {
        true => same_but(old, new, below),
        false => same(old, new),
    };
    match (&old.value, &new.value) {
        (Value::Map(old), Value::Map(new)) if below.is_empty() => {
            let left = old.iter().enumerate().filter(|(here, _)| here != n).map(|(_, e)| e);
            old.len() == new.len() + 1
                && left.zip(new).all(|(a, b)| a.key.text == b.key.text && same(&a.value, &b.value))
        }
        (Value::Seq(old), Value::Seq(new)) if below.is_empty() => {
            let left = old.iter().enumerate().filter(|(here, _)| here != n).map(|(_, e)| e);
            old.len() == new.len() + 1 && left.zip(new).all(|(a, b)| same(a, b))
        }
        (Value::Map(old), Value::Map(new)) => {
            let pairs = old.iter().zip(new).enumerate();
            old.len() == new.len()
                && pairs
                    .into_iter()
                    .all(|(here, (a, b))| a.key.text == b.key.text && at(here, &a.value, &b.value))
        }
        (Value::Seq(old), Value::Seq(new)) => {
            old.len() == new.len() && old.iter().zip(new).enumerate().all(|(here, (a, b))| at(here, a, b))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text without what `‹` and `›` are around.
    fn without(marked: &str, of: Of) -> Option<String> {
        let (start, end) = (marked.find('‹').unwrap(), marked.find('›').unwrap() - '‹'.len_utf8());
        let text = marked.replace(['‹', '›'], "");
        let file = File { text: &text, parsed: parse(&text) };
        assert!(file.parsed.errors.is_empty(), "{text}: {:?}", file.parsed.errors);
        let span = file.removal(Span::new(start as u32, end as u32), of)?;
        Some([&text[..span.start as usize], &text[span.end as usize..]].concat())
    }

    #[test]
    fn an_entry_goes_with_its_comments_and_nothing_else() {
        for (text, left) in [
            ("vars:\n  ‹a›: 1\n  b: 2\n", "vars:\n  b: 2\n"),
            ("vars:\n  a: 1\n  ‹b›: 2\n", "vars:\n  a: 1\n"),
            ("vars: { a: 1, b: ‹2› }\n", "vars: { a: 1 }\n"),
            ("vars:\n  a: 1\n  b: ‹[x]›\n", "vars:\n  a: 1\n"),
            ("vars:\n  a: 1\n  ‹b›: 2", "vars:\n  a: 1\n"),
            ("vars:\n  a: 1\n  ‹\"b\"›: 2\n", "vars:\n  a: 1\n"),
            ("vars:\n  # of a\n  ‹a›: 1 # too\n  # of b\n  b: 2\n", "vars:\n  # of b\n  b: 2\n"),
            (
                "vars:\n  # of a\n  a: 1\n  # of b\n  # too\n  ‹b›: 2\nx: 1\n",
                "vars:\n  # of a\n  a: 1\nx: 1\n",
            ),
            ("vars:\n  # all\n\n  ‹a›: 1\n\n  b: 2\n", "vars:\n  # all\n\n\n  b: 2\n"),
            ("vars:\n  b: 1\n  ‹a›: |\n    x\n\n    y\n\nx: 1\n", "vars:\n  b: 1\n\nx: 1\n"),
            (
                "params:\n  ‹p›:\n    type: int\n    # below\n  q: { type: int }\n",
                "params:\n  q: { type: int }\n",
            ),
            ("x: 1\nvars:\n  ‹list›:\n    - 1\n    - 2\n  b: 1\n", "x: 1\nvars:\n  b: 1\n"),
            ("vars: { ‹a›: 1, b: 2, c: 3 }\n", "vars: { b: 2, c: 3 }\n"),
            ("vars: { a: 1, ‹b›: 2, c: 3 }\n", "vars: { a: 1, c: 3 }\n"),
            ("vars: { a: 1, b: 2, ‹c›: [3] } # why\n", "vars: { a: 1, b: 2 } # why\n"),
            ("vars: { ‹a›: { x: 1 }, b: 2 }\n", "vars: { b: 2 }\n"),
            ("name: m\nvars:\n  # why\n  ‹a›: 1\nresources: []\n", "name: m\nresources: []\n"),
            ("name: m\n# none\nvars: { ‹a›: 1 }\n", "name: m\n"),
            ("- match: a\n  vars: { ‹x›: 1 }\n", "- match: a\n"),
            ("- vars:\n    ‹x›: 1\n  match: a\n", "- match: a\n"),
            ("- { match: a, vars: { ‹x›: 1 } }\n", "- { match: a }\n"),
            ("- { vars: { ‹x›: 1 }, match: a }\n", "- { match: a }\n"),
        ] {
            assert_eq!(without(text, Of::Entry).as_deref(), Some(left), "{text}");
        }
    }

    #[test]
    fn an_item_of_a_list_goes_by_its_name() {
        let three = |last: &str| {
            let head = "roles:\n  # one\n  - name: one\n    modules: [a]\n\n";
            format!(
                "{head}  # of two\n  - doc: d\n    name: {last}\n    modules: [b]\n  - {{ name: three }}\n"
            )
        };
        let left = "roles:\n  # one\n  - name: one\n    modules: [a]\n\n  - { name: three }\n";
        assert_eq!(without(&three("‹two›"), Of::Item).as_deref(), Some(left));
        let left = three("two").replace("  - { name: three }\n", "");
        assert_eq!(without(&three("two").replace("three", "‹three›"), Of::Item), Some(left));
        assert_eq!(
            without("roles: [{ name: ‹x› }, { name: b }]\n", Of::Item).as_deref(),
            Some("roles: [{ name: b }]\n")
        );
    }

    #[test]
    fn what_would_change_more_is_left_alone() {
        for text in [
            // without its variables the environment would be nothing
            "env:\n  e:\n    vars:\n      ‹a›: 1\n",
            "vars: { ‹a›: 1 }\n",
            "roles:\n  - name: ‹one›\n",
            // a comment inside may be about the neighbour
            "vars: { ‹a›: 1, # of a\n  b: 2 }\n",
        ] {
            let of = if text.starts_with("roles") { Of::Item } else { Of::Entry };
            assert_eq!(without(text, of), None, "{text}");
        }
    }
}
