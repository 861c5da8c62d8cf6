//! Applies the edits that findings offer.
//!
//! Edits of one finding belong together. Of findings whose edits touch each other the first is taken; the others get
//! their turn in the next round, after another check, if they are still found. No file ends up with more syntax errors
//! than it had.

use crate::diagnostic::{Diagnostic, Edit};
use crate::policy::Policy;
use crate::syntax::Kind;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// A round mends all findings that do not touch each other, so a few are enough for any policy that people write.
const MOST_ROUNDS: usize = 20;

/// What was done.
#[derive(Debug, Default)]
pub struct Fixed {
    /// How many findings were mended, by slug.
    pub mended: BTreeMap<&'static str, usize>,
    /// The files that changed, with their texts before.
    pub before: Texts,
    /// Findings whose edits would have made a file worse.
    pub refused: usize,
    /// The rounds came to an end before the edits did.
    pub unfinished: bool,
}

type Texts = BTreeMap<Arc<str>, Arc<str>>;

/// Applies edits in memory, round after round, until none is left; with `guesses` also those that are only the nearest
/// name. The policy holds the new texts afterwards; nothing is written.
pub fn fix(policy: &mut Policy, guesses: bool) -> Fixed {
    fix_those(policy, |d| guesses || !d.fixes.iter().any(|e| e.guess))
}

/// The same for the findings that one file can be mended of alone, without guesses.
pub fn fix_file(policy: &mut Policy, path: &str) -> Fixed {
    fix_those(policy, |d| d.fixes.iter().all(|e| !e.guess && *e.place.file == *path))
}

fn fix_those(policy: &mut Policy, wants: impl Fn(&Diagnostic) -> bool) -> Fixed {
    let mut out = Fixed::default();
    let mut refused: HashSet<Vec<Edit>> = HashSet::new();
    for round in 0.. {
        let report = policy.check();
        let wanted = report
            .diagnostics
            .iter()
            .filter(|d| !d.fixes.is_empty() && wants(d) && !refused.contains(&d.fixes));
        let chosen = apart(wanted);
        if chosen.is_empty() {
            break;
        }
        if round == MOST_ROUNDS {
            out.unfinished = true;
            break;
        }
        let texts = policy.texts();
        let (taken, new) = match edited(&texts, &chosen) {
            Some(new) => (chosen, new),
            None => one_by_one(&texts, chosen, &mut refused),
        };
        for (path, text) in new {
            if let Some(before) = texts.get(&path) {
                out.before.entry(path.clone()).or_insert_with(|| before.clone());
            }
            policy.set_text(&path, &text);
        }
        for d in taken {
            *out.mended.entry(d.code).or_default() += 1;
        }
    }
    out.refused = refused.len();
    let texts = policy.texts();
    out.before.retain(|path, before| texts.get(path) != Some(before));
    out
}

/// As many findings as can be mended at once: none of their edits touches another's.
fn apart<'a>(wanted: impl Iterator<Item = &'a Diagnostic>) -> Vec<&'a Diagnostic> {
    let mut taken: BTreeMap<&Arc<str>, Vec<&Edit>> = BTreeMap::new();
    let mut out = Vec::new();
    for d in wanted {
        let free = d.fixes.iter().all(|e| {
            let of_file = taken.get(&e.place.file);
            of_file.is_none_or(|all| all.iter().all(|other| !touch(e, other)))
        });
        if free {
            d.fixes.iter().for_each(|e| taken.entry(&e.place.file).or_default().push(e));
            out.push(d);
        }
    }
    out
}

fn touch(a: &Edit, b: &Edit) -> bool {
    let (a, b) = (a.place.span, b.place.span);
    a.start <= b.end && b.start <= a.end
}

/// The findings that do no harm, when all at once do.
fn one_by_one<'a>(
    texts: &Texts,
    chosen: Vec<&'a Diagnostic>,
    refused: &mut HashSet<Vec<Edit>>,
) -> (Vec<&'a Diagnostic>, Texts) {
    let (mut taken, mut best) = (Vec::new(), Texts::new());
    for d in chosen {
        taken.push(d);
        match edited(texts, &taken) {
            Some(new) => best = new,
            None => {
                taken.pop();
                refused.insert(d.fixes.clone());
            }
        }
    }
    (taken, best)
}

/// The texts after the edits of some findings; `None` when one of them stays as it is or has more syntax errors then.
fn edited(texts: &Texts, findings: &[&Diagnostic]) -> Option<Texts> {
    let mut by_file: BTreeMap<&Arc<str>, Vec<&Edit>> = BTreeMap::new();
    for edit in findings.iter().flat_map(|d| &d.fixes) {
        by_file.entry(&edit.place.file).or_default().push(edit);
    }
    let mut out = Texts::new();
    for (path, mut edits) in by_file {
        let before = texts.get(path)?;
        edits.sort_by_key(|e| (e.place.span.start, e.place.span.end));
        let after = replaced(before, &edits)?;
        if after == **before || syntax_errors(path, &after) > syntax_errors(path, before) {
            return None;
        }
        out.insert(path.clone(), after.into());
    }
    Some(out)
}

/// The text with sorted edits applied; `None` when they overlap or do not fit the text.
fn replaced(text: &str, edits: &[&Edit]) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        let span = edit.place.span.range();
        out.push_str(text.get(at..span.start)?);
        text.get(span.clone())?;
        out.push_str(&edit.replacement);
        at = span.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

fn syntax_errors(path: &str, text: &str) -> usize {
    match Kind::of(path) {
        Kind::Template => grammar::template::parse(text).1.len(),
        _ => grammar::document::parse(text).errors.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Place;
    use crate::diagnostic::codes::UNKNOWN_KEY;
    use grammar::Span;

    fn finding(edits: &[(u32, u32, &str)]) -> Diagnostic {
        let place = Place { file: "nodes.vgo".into(), span: Span::new(0, 0) };
        let start = Diagnostic::new(&UNKNOWN_KEY, place, "m");
        edits.iter().fold(start, |d, (from, to, new)| d.fix(Span::new(*from, *to), *new))
    }

    fn texts(text: &str) -> Texts {
        [("nodes.vgo".into(), text.into())].into_iter().collect()
    }

    #[test]
    fn edits_that_touch_wait_for_the_next_round() {
        let (a, b, c) = (finding(&[(0, 1, "x")]), finding(&[(1, 2, "y")]), finding(&[(3, 3, "z")]));
        let chosen = apart([&a, &b, &c].into_iter());
        assert_eq!(chosen, [&a, &c]);
        let new = edited(&texts("a: 1\n"), &chosen).unwrap();
        assert_eq!(&*new["nodes.vgo"], "x: z1\n");
    }

    #[test]
    fn what_makes_a_file_worse_is_refused_and_the_rest_is_done() {
        let (good, bad) = (finding(&[(0, 1, "b")]), finding(&[(3, 4, "[1")]));
        let mut refused = HashSet::new();
        assert!(edited(&texts("a: 1\n"), &[&good, &bad]).is_none());
        let (taken, new) = one_by_one(&texts("a: 1\n"), vec![&good, &bad], &mut refused);
        assert_eq!((taken, &*new["nodes.vgo"]), (vec![&good], "b: 1\n"));
        assert_eq!(refused.len(), 1);
    }

    #[test]
    fn edits_outside_of_the_text_are_refused() {
        for edits in [&[(0, 99, "x")][..], &[(1, 3, "x"), (2, 4, "y")], &[(4, 5, "x")]] {
            assert!(edited(&texts("a: ü\n"), &[&finding(edits)]).is_none(), "{edits:?}");
        }
    }
}
