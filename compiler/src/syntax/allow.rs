//! `# vigo: allow(SLUG) REASON`: a comment that takes a warning or hint out of account, for a reason.

use crate::diagnostic::Sink;
use crate::diagnostic::codes::{ALLOW_WITHOUT_REASON, MALFORMED_ALLOW, UNKNOWN_SLUG, slugs};
use crate::diagnostic::nearest::did_you_mean;
use crate::syntax::Name;
use grammar::Span;
use grammar::document::{Comment, Node, Value};
use std::sync::Arc;

/// One slug of a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    /// What it allows.
    pub slug: Name,
    /// Why.
    pub reason: Arc<str>,
    /// Findings that begin in here.
    pub covers: Span,
    /// What to delete when there is nothing to allow: the comment with the blanks before it, or its line. `None` when
    /// the comment allows something else too.
    pub whole: Option<Span>,
}

const MARK: &str = "vigo:";
const FORM: &str = "write `# vigo: allow(SLUG) REASON`, such as `# vigo: allow(unguarded-exec) reads only`";

/// What the comments of a file allow; reports the ones that are not understood.
///
/// A comment on a line of its own is about the next line that holds anything, one behind a value about its line. Where
/// that line begins text of several lines, in which no comment can stand, it is about all of them.
pub fn read(text: &str, comments: &[Comment], root: &Node, sink: &mut Sink) -> Vec<Allow> {
    let mut out = Vec::new();
    for comment in comments {
        let said = &text[comment.span.range()];
        let body = said.trim_start_matches('#').trim_start();
        let Some(rest) = body.strip_prefix(MARK) else { continue };
        let start = comment.span.end as usize - rest.len();
        let Some((list, reason)) = parts(rest) else {
            let finding = sink
                .say(&MALFORMED_ALLOW, comment.span, format!("`{}` is not understood", said.trim_end()))
                .label("not `allow(SLUG) REASON`")
                .help(FORM);
            sink.push(finding);
            continue;
        };
        if reason.is_empty() {
            let finding = sink
                .say(&ALLOW_WITHOUT_REASON, comment.span, format!("`{}` does not say why", said.trim_end()))
                .label("no reason")
                .help(format!("add why it is right here: `{} ...`", said.trim_end()));
            sink.push(finding);
        }
        let covers = covered(text, *comment, comments, root);
        let names = names(text, list, start, rest);
        let single = names.len() == 1;
        for slug in names {
            if slugs().any(|(known, ..)| *known == *slug.text) {
                let whole = single.then(|| whole(text, *comment));
                out.push(Allow { slug, reason: reason.into(), covers, whole });
                continue;
            }
            let mut finding = sink
                .say(&UNKNOWN_SLUG, slug.span, format!("there is no kind of finding `{}`", slug.text))
                .label("unknown slug");
            let near = crate::diagnostic::nearest::nearest(&slug.text, slugs().map(|(known, ..)| known));
            finding = match near {
                Some(near) => finding
                    .maybe_help(did_you_mean(&slug.text, slugs().map(|(known, ..)| known)))
                    .guess(slug.span, near),
                None => finding.help("`vigoc rule` lists all of them"),
            };
            sink.push(finding);
        }
    }
    out
}

/// What stands in the brackets of ` allow(...) reason`, and the reason.
fn parts(rest: &str) -> Option<(&str, &str)> {
    let rest = rest.trim_start().strip_prefix("allow")?.trim_start().strip_prefix('(')?;
    let (list, reason) = rest.split_once(')')?;
    let reason = reason.trim().trim_start_matches([':', '-']).trim();
    if list.split(',').all(|slug| slug.trim().is_empty()) { None } else { Some((list, reason)) }
}

fn names(text: &str, list: &str, start: usize, rest: &str) -> Vec<Name> {
    let open = start + rest.find('(').map_or(0, |at| at + 1);
    let mut at = open;
    let mut out = Vec::new();
    for part in list.split(',') {
        let name = part.trim();
        let from = at + part.len() - part.trim_start().len();
        at += part.len() + 1;
        if !name.is_empty() {
            let to = (from + name.len()).min(text.len());
            out.push(Name { text: name.into(), span: Span::new(from as u32, to as u32) });
        }
    }
    out
}

fn covered(text: &str, comment: Comment, comments: &[Comment], root: &Node) -> Span {
    let at = comment.span.start as usize;
    let line = text[..at].rfind('\n').map_or(0, |n| n + 1);
    let mut end = line_end(text, at);
    if comment.own_line {
        // over blank lines and other comments to what it is about
        loop {
            let next = end + 1;
            if next >= text.len() {
                break;
            }
            end = line_end(text, next);
            let content = text[next..end].trim_start();
            let comment = comments
                .iter()
                .any(|c| c.own_line && next <= c.span.start as usize && c.span.start as usize <= end);
            if !content.is_empty() && !comment {
                break;
            }
        }
    }
    // of an own line the comment itself counts too: findings about the file as such stand at its beginning
    let last = text[..end].rfind('\n').map_or(0, |n| n + 1);
    let end = long_text(root, last, end).unwrap_or(end);
    Span::new(line as u32, end as u32)
}

/// The end of the scalar that begins on the line `start..end` and goes on below it.
fn long_text(node: &Node, start: usize, end: usize) -> Option<usize> {
    let here = |n: &Node| (n.span.end as usize) > end && (n.span.start as usize) <= end;
    match &node.value {
        Value::Scalar(_) => {
            let begins = (start..=end).contains(&(node.span.start as usize));
            (begins && here(node)).then_some(node.span.end as usize)
        }
        Value::Seq(items) => items.iter().filter(|n| here(n)).find_map(|n| long_text(n, start, end)),
        Value::Map(entries) => {
            let values = entries.iter().map(|e| &e.value);
            values.filter(|n| here(n)).find_map(|n| long_text(n, start, end))
        }
        _ => None,
    }
}

fn whole(text: &str, comment: Comment) -> Span {
    let at = comment.span.start as usize;
    let head = &text[..at];
    if comment.own_line {
        let line = head.rfind('\n').map_or(0, |n| n + 1);
        let next = (line_end(text, at) + 1).min(text.len());
        return Span::new(line as u32, next as u32);
    }
    Span::new(head.trim_end_matches([' ', '\t']).len() as u32, comment.span.end)
}

fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |n| at + n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(text: &str) -> (Vec<Allow>, Vec<String>) {
        let parsed = grammar::document::parse(text);
        let mut sink = Sink::new("a.vgo".into());
        let allows = read(text, &parsed.comments, &parsed.root, &mut sink);
        (allows, sink.found.into_iter().map(|d| format!("{}: {}", d.code, d.message)).collect())
    }

    #[test]
    fn what_a_comment_is_about() {
        let text = "# vigo: allow(unused-module) one\n\n# other\nname: a # vigo: allow(unused-variable, never-true) two\n\
                    content: | # vigo: allow(constant-condition) three\n  x\n  y\nlast: 1\n";
        let (found, said) = allows(text);
        assert_eq!(said, Vec::<String>::new());
        let shown: Vec<(&str, &str, &str)> =
            found.iter().map(|a| (&*a.slug.text, &*a.reason, &text[a.covers.range()])).collect();
        assert_eq!(shown[0].0, "unused-module");
        assert!(shown[0].2.ends_with(" two"), "{shown:?}");
        assert_eq!((shown[1].0, shown[2].0), ("unused-variable", "never-true"));
        assert!(shown[2].2.starts_with("name: a"), "{shown:?}");
        assert_eq!(shown[3].1, "three");
        assert!(shown[3].2.ends_with("  y") && shown[3].2.starts_with("content"), "{shown:?}");
        for a in &found {
            assert_eq!(&text[a.slug.span.range()], &*a.slug.text);
        }
        assert_eq!(&text[found[0].whole.unwrap().range()], "# vigo: allow(unused-module) one\n");
        assert_eq!(&text[found[3].whole.unwrap().range()], " # vigo: allow(constant-condition) three");
        assert_eq!(found[1].whole, None, "the comment has two");
    }

    #[test]
    fn mistakes_are_named() {
        for (comment, said) in [
            (
                "# vigo: alow(unused-role) x",
                "malformed-allow: `# vigo: alow(unused-role) x` is not understood",
            ),
            ("# vigo: allow unused-role", "malformed-allow: `# vigo: allow unused-role` is not understood"),
            ("# vigo: allow() x", "malformed-allow: `# vigo: allow() x` is not understood"),
            ("# vigo:", "malformed-allow: `# vigo:` is not understood"),
            (
                "# vigo: allow(unused-role)",
                "allow-without-reason: `# vigo: allow(unused-role)` does not say why",
            ),
            (
                "# vigo: allow(unused-role) - ",
                "allow-without-reason: `# vigo: allow(unused-role) -` does not say why",
            ),
            ("# vigo: allow(unused-rol) x", "unknown-slug: there is no kind of finding `unused-rol`"),
        ] {
            let (_, found) = allows(&format!("{comment}\na: 1\n"));
            assert_eq!(found, [said]);
        }
        for fine in
            ["# vigo allow(x)", "# see vigo: the program", "x: \"# vigo: nothing\"", "# vigorous: yes"]
        {
            assert_eq!(allows(&format!("{fine}\n")).1, Vec::<String>::new(), "{fine}");
        }
    }

    #[test]
    fn a_comment_at_the_end_is_about_nothing_more() {
        let (found, _) = allows("a: 1\n# vigo: allow(unused-role) x");
        assert_eq!(found[0].covers, Span::new(5, 33));
    }
}
