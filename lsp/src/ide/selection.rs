//! Selections that grow: a word, a value, an entry, a mapping, the file.

use super::Source;
use super::expression::word_at;
use super::place::{On, place};
use grammar::Span;

/// Spans around a position, the smallest first; each is larger than the one before and holds it.
pub fn selections(source: &Source, at: u32) -> Vec<Span> {
    let parsed = source.parsed();
    let mut all: Vec<Span> = Vec::new();
    if let Some((expression, word)) = word_at(source, &parsed, at) {
        all.push(word.span);
        all.push(expression.span);
    }
    let place = place(&parsed.root, at);
    if let On::Key(entry) = &place.on {
        all.push(entry.key.span);
        all.push(entry.span());
    }
    for node in place.nodes.iter().rev() {
        all.push(node.span);
        if let Some(entries) = node.as_map() {
            let around = entries.iter().map(|e| e.span());
            all.extend(around.filter(|s| s.start <= at && at <= s.end));
        }
    }
    all.push(Span::new(0, source.text.len() as u32));
    all.retain(|s| s.start <= at && at <= s.end);
    all.sort_by_key(|s| s.end - s.start);
    let mut out: Vec<Span> = Vec::new();
    for span in all {
        let grows = out.last().is_none_or(|l| span.start <= l.start && l.end <= span.end && span != *l);
        if grows {
            out.push(span);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    #[test]
    fn each_holds_the_one_before() {
        let fixture = Fixture::new(&ACME.replacen("vars.port ==", "vars.po$0rt ==", 1));
        let source = fixture.ide().source(&fixture.file).unwrap();
        let found: Vec<&str> = selections(&source, fixture.at).iter().map(|s| source.slice(*s)).collect();
        assert_eq!(found[0], "vars.port");
        assert_eq!(found[1], "os_family('debian') && vars.port == 80");
        assert!(found[2].starts_with("when: os_family"), "{found:#?}");
        assert_eq!(*found.last().unwrap(), &*source.text);
    }
}
