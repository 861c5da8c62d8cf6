//! The entry of a host: first match wins, without trying every pattern.
//!
//! A pattern says how a name begins, or at least how it ends. Patterns are kept by that text, so a name is compared only
//! with those whose text it has, however many entries there are.

use super::class::entries;
use super::glob::HostGlob;
use super::index::index;
use crate::db::{Db, Project, SourceFile};
use rustc_hash::FxHashMap;

/// What `*`, `?`, `[a-z]` and `{a,b}` are written with.
const SPECIAL: [char; 8] = ['*', '?', '[', ']', '{', '}', '!', '^'];

/// The patterns of all entries, in the order in which they are tried.
#[derive(Debug, Default)]
pub struct Matching {
    patterns: Vec<Pattern>,
    /// Numbers of patterns by the text that every match begins with; it is not empty.
    by_start: FxHashMap<Box<str>, Vec<u32>>,
    /// Numbers of the others by the text that every match ends with; it may be empty.
    by_end: FxHashMap<Box<str>, Vec<u32>>,
}

#[derive(Debug)]
struct Pattern {
    file: SourceFile,
    entry: usize,
    /// Its number in the entry.
    number: usize,
}

/// The patterns of a policy.
#[salsa::tracked(returns(ref), no_eq)]
pub fn matching(db: &dyn Db, project: Project) -> Matching {
    let mut out = Matching::default();
    for file in &index(db, project).nodes {
        for (entry, e) in entries(db, *file).iter().enumerate() {
            for (number, (_, glob)) in e.patterns.iter().enumerate() {
                out.add(Pattern { file: *file, entry, number }, glob);
            }
        }
    }
    out
}

impl Matching {
    fn add(&mut self, pattern: Pattern, glob: &HostGlob) {
        let number = self.patterns.len() as u32;
        self.patterns.push(pattern);
        let (start, end) = fixed(&glob.text);
        let (map, text) =
            if start.is_empty() { (&mut self.by_end, end) } else { (&mut self.by_start, start) };
        map.entry(text.into()).or_default().push(number);
    }

    /// The file and number of the first entry that matches a name as [`super::glob::normal`] gives it.
    pub fn entry(&self, db: &dyn Db, hostname: &str) -> Option<(SourceFile, usize)> {
        let starts = (1..=hostname.len()).filter_map(|n| self.by_start.get(hostname.get(..n)?));
        let ends = (0..=hostname.len()).filter_map(|n| self.by_end.get(hostname.get(n..)?));
        let mut first: Option<u32> = None;
        for list in starts.chain(ends) {
            let before = list.iter().copied().take_while(|at| first.is_none_or(|first| *at < first));
            first = before.into_iter().find(|at| self.matches(db, *at, hostname)).or(first);
        }
        let pattern = self.patterns.get(first? as usize)?;
        Some((pattern.file, pattern.entry))
    }

    fn matches(&self, db: &dyn Db, at: u32, hostname: &str) -> bool {
        let glob = self.patterns.get(at as usize).and_then(|pattern| {
            let entry = entries(db, pattern.file).get(pattern.entry)?;
            Some(&entry.patterns.get(pattern.number)?.1)
        });
        glob.is_some_and(|glob| if glob.is_plain() { glob.text == hostname } else { glob.matches(hostname) })
    }
}

/// What every name that a pattern matches begins with, and ends with.
fn fixed(pattern: &str) -> (&str, &str) {
    let start = pattern.find(SPECIAL).unwrap_or(pattern.len());
    let end = pattern.rfind(SPECIAL).map_or(0, |at| at + 1);
    (&pattern[..start], &pattern[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use proptest::prelude::*;
    use std::fs;

    #[test]
    fn what_is_fixed_in_a_pattern() {
        let cases = [
            ("web-1.test", ("web-1.test", "web-1.test")),
            ("web-*.test", ("web-", ".test")),
            ("*.test", ("", ".test")),
            ("*", ("", "")),
            ("{a,b}x", ("", "x")),
            ("x[!0-9]", ("x", "")),
            ("a?", ("a", "")),
        ];
        for (pattern, expected) in cases {
            assert_eq!(fixed(pattern), expected, "{pattern}");
        }
    }

    fn pattern() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            "[ab.]{1,2}",
            Just("*".to_owned()),
            Just("?".to_owned()),
            "\\[!?[ab]\\]",
            Just("{a,b}".to_owned()),
            Just("{,ab}".to_owned())
        ];
        proptest::collection::vec(part, 1..4).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_first_match_wins_as_if_all_were_tried(
            patterns in proptest::collection::vec(pattern(), 1..12),
            names in proptest::collection::vec("[ab.]{1,5}", 1..20),
        ) {
            // not `.`, which is cut off at the end of a name
            let patterns: Vec<String> = patterns.iter().map(|p| format!("{p}c")).collect();
            let dir = tempfile::tempdir().unwrap();
            let rows: String = patterns.iter().map(|p| format!("  - match: \"{p}\"\n")).collect();
            fs::write(dir.path().join("nodes.vgo"), format!("nodes:\n{rows}")).unwrap();
            let policy = Policy::open(dir.path()).unwrap();
            for name in names.iter().map(|n| format!("{n}c")) {
                let first = patterns.iter().position(|p| HostGlob::new(p).unwrap().matches(&name));
                prop_assert_eq!(policy.class_of(&name).map(|class| class.entry), first, "{}", name);
            }
        }
    }
}
