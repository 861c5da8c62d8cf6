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

/// A comment that speaks to this program.
struct Remark<'a> {
    /// All of it.
    span: Span,
    /// All of it, for people.
    said: String,
    /// What follows [`MARK`].
    rest: &'a str,
    /// Where `rest` begins.
    start: usize,
    /// How a comment of this kind is written, around `what`.
    form: fn(what: &str) -> String,
}

/// What the comments of a file allow; reports the ones that are not understood.
///
/// A comment on a line of its own is about the next line that holds anything, one behind a value about its line. Where
/// that line begins text of several lines, in which no comment can stand, it is about all of them.
pub fn read(text: &str, comments: &[Comment], root: &Node, sink: &mut Sink) -> Vec<Allow> {
    let mut out = Vec::new();
    for comment in comments {
        let said = comment.text(text);
        let Some(rest) = said.trim_start_matches('#').trim_start().strip_prefix(MARK) else { continue };
        let remark = Remark {
            span: comment.span,
            said: said.to_owned(),
            rest,
            start: comment.span.start as usize + said.len() - rest.len(),
            form: |what| format!("# {what}"),
        };
        let covers = covered(text, *comment, comments, root);
        remark.read(text, covers, Some(whole(text, *comment)), sink, &mut out);
    }
    out
}

/// The same for the comments of a template, `{{/* vigo: allow(SLUG) REASON */}}`, given with their braces.
pub fn read_template(text: &str, comments: &[Span], sink: &mut Sink) -> Vec<Allow> {
    let mut out = Vec::new();
    for span in comments {
        let whole = &text[span.range()];
        let (Some(open), Some(close)) = (whole.find("/*"), whole.rfind("*/")) else { continue };
        let Some(inside) = whole.get(open + 2..close) else { continue };
        let Some(rest) = inside.trim_start().strip_prefix(MARK) else { continue };
        let remark = Remark {
            span: *span,
            said: whole.split_whitespace().collect::<Vec<_>>().join(" "),
            rest,
            start: span.start as usize + open + 2 + inside.len() - rest.len(),
            form: |what| format!("{{{{/* {what} */}}}}"),
        };
        // what trims the text around it leaves a mark on the output, so it is not for a program to delete
        let trims = whole.starts_with("{{-") || whole.ends_with("-}}");
        let covers = covered_by_template(text, *span, comments);
        remark.read(text, covers, (!trims).then_some(*span), sink, &mut out);
    }
    out
}

impl Remark<'_> {
    fn read(&self, text: &str, covers: Span, whole: Option<Span>, sink: &mut Sink, out: &mut Vec<Allow>) {
        let Remark { span, said, rest, start, form } = self;
        let Some((list, reason)) = parts(rest) else {
            let (general, example) =
                (form("vigo: allow(SLUG) REASON"), form("vigo: allow(unguarded-exec) reads only"));
            let finding = sink
                .say(&MALFORMED_ALLOW, *span, format!("`{said}` is not understood"))
                .label("not `allow(SLUG) REASON`")
                .help(format!("write `{general}`, such as `{example}`"));
            sink.push(finding);
            return;
        };
        if reason.is_empty() {
            let what = format!("{MARK} {} ...", rest.trim());
            let finding = sink
                .say(&ALLOW_WITHOUT_REASON, *span, format!("`{said}` does not say why"))
                .label("no reason")
                .help(format!("add why it is right here: `{}`", form(&what)));
            sink.push(finding);
        }
        let names = names(text, list, *start, rest);
        let single = names.len() == 1;
        for slug in names {
            if slugs().any(|(known, ..)| *known == *slug.text) {
                let whole = whole.filter(|_| single);
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
}

/// The lines of the comment, or where nothing else stands on them, the next line that holds anything.
fn covered_by_template(text: &str, span: Span, comments: &[Span]) -> Span {
    let start = text[..span.start as usize].rfind('\n').map_or(0, |n| n + 1);
    let mut end = line_end(text, span.end as usize);
    let blank = |from: usize, to: usize| text.get(from..to).is_some_and(|t| t.trim().is_empty());
    let mut alone = blank(start, span.start as usize) && blank(span.end as usize, end);
    while alone && end + 1 < text.len() {
        let next = end + 1;
        end = line_end(text, next);
        let comment = comments.iter().find(|c| next <= c.start as usize && (c.start as usize) < end);
        alone = match comment {
            None => blank(next, end),
            Some(c) => {
                let last = line_end(text, c.end as usize);
                let only = blank(next, c.start as usize) && blank(c.end as usize, last);
                end = last;
                only
            }
        };
    }
    Span::new(start as u32, end as u32)
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
    fn comments_of_templates_are_read_too() {
        let of = |text: &str| {
            let mut sink = Sink::new("templates/a.tmpl".into());
            let allows = read_template(text, &grammar::template::parse(text).0.comments, &mut sink);
            let said: Vec<String> =
                sink.found.into_iter().map(|d| format!("{}: {}; {:?}", d.code, d.message, d.help)).collect();
            (allows, said)
        };
        let text = "{{/* vigo: allow(never-true) one */}}\n\n{{- /* other */}}\nabc\n\
                    x {{- /* vigo: allow(unused-role,\n never-true) two */ -}} y\nz\n";
        let (found, said) = of(text);
        assert_eq!(said, Vec::<String>::new());
        let shown: Vec<(&str, &str, &str)> =
            found.iter().map(|a| (&*a.slug.text, &*a.reason, &text[a.covers.range()])).collect();
        assert_eq!(shown[0].0, "never-true");
        assert_eq!(shown[0].1, "one");
        assert!(shown[0].2.starts_with("{{/*") && shown[0].2.ends_with("\nabc"), "{shown:?}");
        assert_eq!((shown[1].0, shown[2].0, shown[2].1), ("unused-role", "never-true", "two"));
        assert!(shown[2].2.starts_with("x {{-") && shown[2].2.ends_with("-}} y"), "{shown:?}");
        for a in &found {
            assert_eq!(&text[a.slug.span.range()], &*a.slug.text);
        }
        assert_eq!(&text[found[0].whole.unwrap().range()], "{{/* vigo: allow(never-true) one */}}");
        assert_eq!(found[2].whole, None, "it trims");
        assert_eq!(
            of("{{/* vigo: allow(never-true) */}}").1,
            ["allow-without-reason: `{{/* vigo: allow(never-true) */}}` does not say why; \
                 Some(\"add why it is right here: `{{/* vigo: allow(never-true) ... */}}`\")"]
        );
        assert_eq!(of("{{/* vigo: allw(x) */}}").1.len(), 1);
        for fine in ["# vigo: allow(never-true)", "{{ \"/* vigo: allow(x) */\" }}", "{{/* vigorous */}}"] {
            assert_eq!(of(fine), (Vec::new(), Vec::new()), "{fine}");
        }
    }

    #[test]
    fn a_comment_at_the_end_is_about_nothing_more() {
        let (found, _) = allows("a: 1\n# vigo: allow(unused-role) x");
        assert_eq!(found[0].covers, Span::new(5, 33));
    }
}
