//! Whether patterns over host names cover another one: inclusion of regular languages, exact for our patterns.
//!
//! Both sides become automata that run side by side over one name. A name that the covered side takes and the covering
//! side does not is a counter-example; where there is none the pattern is covered. Only the patterns that take an
//! earlier counter-example join the covering side, so most questions end after one or two rounds.

use super::glob::HostGlob;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Characters of a host name, as bits.
type Set = u128;

/// Pairs of states for one pattern; whoever writes more of a pattern than this gets no answer.
const MAX_PAIRS: usize = 20_000;

/// Part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// One of these characters.
    One(Set),
    /// `*`
    Any,
    /// `{a,b}`
    Either(Vec<Vec<Part>>),
}

/// Every character that a host name may hold once it is lower-cased: printable, no space.
fn alphabet() -> Set {
    (0x21_u8..0x7f).filter(|b| !b.is_ascii_uppercase()).fold(0, |set, b| set | bit(char::from(b)))
}

fn bit(c: char) -> Set {
    if c.is_ascii() { 1 << (c as u32) } else { 0 }
}

/// Reads a pattern. `None` for what is no pattern, or one that is nested too deeply.
pub(super) fn parse(text: &str) -> Option<Vec<Part>> {
    let mut chars = text.chars();
    // the last is the innermost `{`: what its branches are so far
    let mut open: Vec<Vec<Vec<Part>>> = vec![vec![Vec::new()]];
    while let Some(c) = chars.next() {
        let part = match c {
            '*' => Part::Any,
            '?' => Part::One(alphabet()),
            '[' => Part::One(class(&mut chars)?),
            '{' => {
                if open.len() > super::glob::MAX_NESTING {
                    return None;
                }
                open.push(vec![Vec::new()]);
                continue;
            }
            ',' if open.len() > 1 => {
                open.last_mut()?.push(Vec::new());
                continue;
            }
            '}' if open.len() > 1 => Part::Either(open.pop()?),
            '}' => return None,
            c => Part::One(bit(c)),
        };
        open.last_mut()?.last_mut()?.push(part);
    }
    match open.pop() {
        Some(mut only) if open.is_empty() => only.pop(),
        _ => None,
    }
}

/// What stands behind `[`, up to and with `]`.
fn class(chars: &mut std::str::Chars<'_>) -> Option<Set> {
    let mut rest = chars.clone();
    let negated = matches!(rest.next(), Some('!' | '^'));
    if negated {
        chars.next();
    }
    let mut ranges: Vec<(char, char)> = Vec::new();
    let (mut first, mut in_range) = (true, false);
    loop {
        match chars.next()? {
            ']' if !first => break,
            '-' if !first && !in_range => in_range = true,
            c if in_range => {
                ranges.last_mut()?.1 = c;
                in_range = false;
            }
            c => ranges.push((c, c)),
        }
        first = false;
    }
    if in_range {
        ranges.push(('-', '-'));
    }
    let set = ranges.into_iter().flat_map(|(low, high)| low..=high).fold(0, |set, c| set | bit(c));
    Some(alphabet() & if negated { !set } else { set })
}

/// An automaton: several patterns, any of which may take a name.
#[derive(Debug, Default)]
struct Automaton {
    /// By state: where a character of the set leads.
    steps: Vec<Vec<(Set, usize)>>,
    /// By state: where nothing leads.
    free: Vec<Vec<usize>>,
    begins: Vec<usize>,
    ends: BTreeSet<usize>,
}

impl Automaton {
    fn state(&mut self) -> usize {
        self.steps.push(Vec::new());
        self.free.push(Vec::new());
        self.steps.len() - 1
    }

    fn add(&mut self, parts: &[Part]) {
        let begin = self.state();
        let end = self.sequence(parts, begin);
        self.begins.push(begin);
        self.ends.insert(end);
    }

    fn sequence(&mut self, parts: &[Part], mut at: usize) -> usize {
        for part in parts {
            let next = self.state();
            match part {
                Part::One(set) => self.steps[at].push((*set, next)),
                Part::Any => {
                    self.steps[next].push((alphabet(), next));
                    self.free[at].push(next);
                }
                Part::Either(branches) => {
                    for branch in branches {
                        let begin = self.state();
                        self.free[at].push(begin);
                        let end = self.sequence(branch, begin);
                        self.free[end].push(next);
                    }
                }
            }
            at = next;
        }
        at
    }

    /// With everything that is reached for free.
    fn closed(&self, states: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let mut out = BTreeSet::new();
        let mut open: Vec<usize> = states.into_iter().collect();
        while let Some(state) = open.pop() {
            if out.insert(state) {
                open.extend(&self.free[state]);
            }
        }
        out
    }

    fn step(&self, from: &BTreeSet<usize>, c: Set) -> BTreeSet<usize> {
        let steps = from.iter().flat_map(|state| &self.steps[*state]);
        self.closed(steps.filter(|(set, _)| set & c != 0).map(|(_, to)| *to))
    }

    fn takes(&self, name: &str) -> bool {
        let begin = self.closed(self.begins.iter().copied());
        self.accepts(&name.chars().fold(begin, |at, c| self.step(&at, bit(c))))
    }

    fn accepts(&self, states: &BTreeSet<usize>) -> bool {
        states.iter().any(|state| self.ends.contains(state))
    }
}

/// One character for each group that no set tells apart.
fn representatives<'a>(sets: impl Iterator<Item = &'a Set>) -> Vec<char> {
    let sets: BTreeSet<Set> = sets.copied().collect();
    let mut groups: BTreeMap<Vec<bool>, char> = BTreeMap::new();
    // letters first: a counter-example is compared with patterns, and read by people in tests
    for c in ('a'..='z').chain('0'..='9').chain(('!'..='~').filter(|c| !c.is_ascii_alphanumeric())) {
        groups.entry(sets.iter().map(|set| set & bit(c) != 0).collect()).or_insert(c);
    }
    groups.into_values().collect()
}

enum Answer {
    Covered,
    /// The shortest name that is not covered.
    Counter(String),
    TooMuch,
}

fn compare(covered: &Automaton, covering: &Automaton, budget: &mut usize) -> Answer {
    let sets = covered.steps.iter().chain(&covering.steps).flatten().map(|(set, _)| set);
    let alphabet = representatives(sets);
    let begin =
        (covered.closed(covered.begins.iter().copied()), covering.closed(covering.begins.iter().copied()));
    // each pair of states with the one before it and the character between them
    let mut seen: HashMap<(BTreeSet<usize>, BTreeSet<usize>), usize> = HashMap::new();
    let mut path: Vec<(usize, char)> = vec![(0, ' ')];
    seen.insert(begin.clone(), 0);
    let mut open = VecDeque::from([(begin, 0)]);
    while let Some(((left, right), number)) = open.pop_front() {
        if covered.accepts(&left) && !covering.accepts(&right) {
            let mut name = Vec::new();
            let mut at = number;
            while at != 0 {
                let (before, c) = path[at];
                name.push(c);
                at = before;
            }
            return Answer::Counter(name.into_iter().rev().collect());
        }
        for c in &alphabet {
            let next = (covered.step(&left, bit(*c)), covering.step(&right, bit(*c)));
            if next.0.is_empty() || seen.contains_key(&next) {
                continue;
            }
            if *budget == 0 {
                return Answer::TooMuch;
            }
            *budget -= 1;
            path.push((number, *c));
            seen.insert(next.clone(), path.len() - 1);
            open.push_back((next, path.len() - 1));
        }
    }
    Answer::Covered
}

/// Patterns in the order in which they are tried.
#[derive(Debug, Default)]
pub struct Earlier<'a> {
    count: usize,
    /// Those that match one name; of equal ones the first.
    plain: HashMap<&'a str, usize>,
    others: Vec<Other<'a>>,
}

#[derive(Debug)]
struct Other<'a> {
    number: usize,
    /// What every name begins and ends with.
    begin: &'a str,
    end: &'a str,
    parts: Vec<Part>,
    automaton: Automaton,
}

impl<'a> Earlier<'a> {
    /// Adds the next pattern; patterns are numbered from 0.
    pub fn push(&mut self, pattern: &'a HostGlob) {
        let (text, number) = (pattern.text.as_str(), self.count);
        self.count += 1;
        if pattern.is_plain() {
            self.plain.entry(text).or_insert(number);
        } else if let Some(parts) = parse(text) {
            let mut automaton = Automaton::default();
            automaton.add(&parts);
            let begin = text.split(['*', '?', '[', '{']).next().unwrap_or_default();
            let end = text.rsplit(['*', '?', ']', '}']).next().unwrap_or_default();
            self.others.push(Other { number, begin, end, parts, automaton });
        }
    }

    fn first(&self, name: &str) -> Option<(usize, Option<&Other<'a>>)> {
        let plain = self.plain.get(name).copied();
        let other = self
            .others
            .iter()
            .take_while(|o| plain.is_none_or(|n| o.number < n))
            .find(|o| name.starts_with(o.begin) && name.ends_with(o.end) && o.automaton.takes(name));
        other.map(|o| (o.number, Some(o))).or(plain.map(|number| (number, None)))
    }

    /// The numbers of the patterns that together match whatever `pattern` matches; `None` when some name is left, or
    /// when telling would take too long.
    pub fn covering(&self, pattern: &HostGlob) -> Option<Vec<usize>> {
        if pattern.is_plain() {
            return self.first(&pattern.text).map(|(number, _)| vec![number]);
        }
        let mut covered = Automaton::default();
        covered.add(&parse(&pattern.text)?);
        let (mut covering, mut chosen) = (Automaton::default(), Vec::new());
        let mut budget = MAX_PAIRS;
        loop {
            match compare(&covered, &covering, &mut budget) {
                Answer::Covered => return (!chosen.is_empty()).then_some(chosen),
                Answer::TooMuch => return None,
                Answer::Counter(name) => {
                    let (number, other) = self.first(&name)?;
                    match other {
                        Some(other) => covering.add(&other.parts),
                        None => covering.add(&parse(&name)?),
                    }
                    chosen.push(number);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn glob(pattern: &str) -> HostGlob {
        HostGlob::new(pattern).unwrap()
    }

    fn covers(earlier: &[&str], pattern: &str) -> bool {
        let globs: Vec<HostGlob> = earlier.iter().map(|p| glob(p)).collect();
        let mut earlier = Earlier::default();
        globs.iter().for_each(|g| earlier.push(g));
        earlier.covering(&glob(pattern)).is_some()
    }

    #[test]
    fn what_is_covered() {
        for (earlier, pattern) in [
            (&["web-*.example.com"][..], "web-[0-9].example.com"),
            (&["web-*"], "web-{a,b*}"),
            (&["db[a-m]", "db[n-z]"], "db[b-y]"),
            (&["y", "y?*"], "y*"),
            (&["{a,b}-{1,2}"], "{b,a}-[12]"),
            (&["*"], "?"),
            (&["x[!0-9]", "x[0-9]"], "x?"),
            (&["*-a", "*-b"], "x*-{a,b}"),
        ] {
            assert!(covers(earlier, pattern), "{earlier:?} {pattern}");
        }
        for (earlier, pattern) in [
            (&["web-*.example.com"][..], "web-*.example.org"),
            (&["db[a-m]", "db[o-z]"], "db[b-y]"),
            (&["y?*"], "y*"),
            (&["a*b"], "a*"),
            (&[], "a"),
        ] {
            assert!(!covers(earlier, pattern), "{earlier:?} {pattern}");
        }
    }

    #[test]
    fn a_pattern_made_to_be_hard_gets_no_answer_in_time() {
        let hard = "*a".to_owned() + &"?".repeat(60);
        assert!(!covers(
            &[&hard, &("*b".to_owned() + &"?".repeat(60))],
            &("*[ab]".to_owned() + &"?".repeat(60))
        ));
    }

    fn pattern() -> impl Strategy<Value = String> {
        let leaf =
            prop::sample::select(vec!["a", "b", "*", "?", "[ab]", "[!a]", "[a-c]", "[^b]", "-", "", "[-a]"])
                .prop_map(str::to_owned);
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                prop::collection::vec(inner, 1..3).prop_map(|parts| format!("{{{}}}", parts.join(","))),
            ]
        })
        .prop_filter("not empty", |p| HostGlob::new(p).is_ok())
    }

    proptest! {
        /// The automaton reads a pattern as the matcher does, and what is said to be covered is.
        #[test]
        fn agrees_with_the_matcher(a in pattern(), b in pattern(), c in pattern(), name in "[abc-]{0,5}") {
            let globs = [glob(&a), glob(&b), glob(&c)];
            let mut earlier = Earlier::default();
            globs.iter().for_each(|g| earlier.push(g));
            for (number, g) in globs.iter().enumerate() {
                let first = earlier.first(&name).map(|(first, _)| first);
                prop_assert_eq!(first.is_some_and(|first| first <= number), globs[..=number].iter().any(|g| g.matches(&name)), "{}", g.text);
            }
            let mut earlier = Earlier::default();
            globs[1..].iter().for_each(|g| earlier.push(g));
            if earlier.covering(&globs[0]).is_some() && globs[0].matches(&name) {
                prop_assert!(globs[1].matches(&name) || globs[2].matches(&name));
            }
        }
    }
}
