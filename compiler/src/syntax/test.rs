//! `tests/**/*.vgo`: policy tests, one in a file, or several under `tests:`.

use super::fields::{Fields, name, names, text, wrong_kind};
use super::layers::variables;
use super::text::{Syn, SynKind};
use super::{Name, Variables};
use crate::diagnostic::Sink;
use crate::diagnostic::codes::{INVALID_NAME, INVALID_VALUE, MISSING_KEY};
use grammar::Span;
use grammar::document::{Node, Value};
use std::sync::Arc;

/// A policy test.
#[derive(Debug)]
pub struct TestAst {
    /// What it shows.
    pub name: Name,
    /// The host that it is about.
    pub envoy: Name,
    /// Instead of the entry's.
    pub environment: Option<Name>,
    /// What is known of the host.
    pub traits: Option<TraitsAst>,
    /// Laid over all other variables.
    pub vars: Variables,
    /// What has to hold.
    pub expect: ExpectAst,
}

/// Traits of the host of a test.
#[derive(Debug, Clone)]
pub struct TraitsAst {
    /// The whole value.
    pub span: Span,
    /// A built-in fixture.
    pub fixture: Option<Name>,
    /// Traits by themselves, or laid over the fixture.
    pub own: Vec<(Name, Syn)>,
}

/// What has to hold.
#[derive(Debug, Default)]
pub struct ExpectAst {
    /// The modules, in run order.
    pub modules: Option<Matcher>,
    /// The closure of the roles.
    pub roles: Option<Matcher>,
    /// Variables.
    pub vars: Vec<(Name, Matcher)>,
    /// Resources, as `module.resource`.
    pub resources: Vec<(Name, ResourceExpectation)>,
    /// `module.resource`, as they run.
    pub order: Vec<Name>,
    /// Everything is as it was when it was stored.
    pub snapshot: Option<Span>,
}

/// What is expected of a resource.
#[derive(Debug)]
pub enum ResourceExpectation {
    /// It is not there.
    Absent(Span),
    /// It is there.
    Present(Span),
    /// It is there, and looks like this.
    With(Vec<(Name, Matcher)>),
}

/// What is expected of a value; all of it has to hold.
#[derive(Debug)]
pub struct Matcher {
    /// The whole expectation.
    pub span: Span,
    /// In the order in which they are written.
    pub all: Vec<(Word, Syn)>,
}

/// The words of a matcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The same value. Stands for a value without a word, too.
    Equals,
    /// Another value.
    Not,
    /// A part of a text, an item of a list, a key of a map; or several of them.
    Contains,
    /// The opposite.
    Lacks,
    /// A regular expression that the text matches somewhere.
    Matches,
    /// One of several values.
    OneOf,
    /// `absent: true`: there is no value; `absent: false`: there is one.
    Absent,
}

impl Word {
    const ALL: [(&'static str, Word); 7] = [
        ("equals", Word::Equals),
        ("not", Word::Not),
        ("contains", Word::Contains),
        ("lacks", Word::Lacks),
        ("matches", Word::Matches),
        ("one_of", Word::OneOf),
        ("absent", Word::Absent),
    ];

    /// As written.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Word::ALL.into_iter().map(|(name, _)| name)
    }

    fn of(name: &str) -> Option<Word> {
        Word::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, word)| word)
    }
}

/// Keys of a test.
pub const KEYS: [&str; 6] = ["test", "envoy", "environment", "traits", "vars", "expect"];
/// Keys of a file of several tests.
pub const SEVERAL: [&str; 5] = ["tests", "envoy", "environment", "traits", "vars"];
/// Keys of `expect:`.
pub const EXPECT: [&str; 6] = ["modules", "roles", "vars", "resources", "order", "snapshot"];

/// What stands beside `tests:` and holds for all that do not say otherwise.
#[derive(Default)]
struct Shared {
    envoy: Option<Name>,
    environment: Option<Name>,
    traits: Option<TraitsAst>,
    vars: Variables,
}

/// Reads a file of tests.
pub fn read(root: Node, sink: &mut Sink) -> Vec<TestAst> {
    if matches!(root.value, Value::Null) {
        return Vec::new();
    }
    if root.get("tests").is_none() {
        return test(root, &Shared::default(), sink).into_iter().collect();
    }
    let Some(mut fields) = Fields::of(root, "a file of tests", &SEVERAL, sink) else { return Vec::new() };
    let list = fields.take("tests");
    let shared = shared(&mut fields, sink);
    fields.finish(sink);
    let items = match list.map(|e| e.value) {
        Some(Node { value: Value::Seq(items), .. }) => items,
        Some(Node { value: Value::Null, .. }) | None => Vec::new(),
        Some(node) => {
            wrong_kind(sink, node.span, "`tests:`", "a list of tests", &node.value);
            Vec::new()
        }
    };
    let mut out: Vec<TestAst> = Vec::new();
    for item in items {
        let Some(test) = test(item, &shared, sink) else { continue };
        if let Some(first) = out.iter().find(|t| t.name.text == test.name.text) {
            let finding = sink
                .say(&INVALID_NAME, test.name.span, format!("there is a test `{}` already", test.name.text))
                .label("the same name")
                .also(sink.at(first.name.span), "first here")
                .help("give one of the two another name");
            sink.push(finding);
            continue;
        }
        out.push(test);
    }
    out
}

fn shared(fields: &mut Fields<'_>, sink: &mut Sink) -> Shared {
    Shared {
        envoy: fields.take("envoy").and_then(|e| text(&e.value, "`envoy:`", sink)),
        environment: fields
            .take("environment")
            .and_then(|e| name(&e.value, "the name of an environment", sink)),
        traits: fields.take("traits").and_then(|e| traits(e.value, sink)),
        vars: fields.take("vars").map(|e| variables(e.value, "`vars:`", sink)).unwrap_or_default(),
    }
}

fn test(node: Node, shared: &Shared, sink: &mut Sink) -> Option<TestAst> {
    let mut fields = Fields::of(node, "a test", &KEYS, sink)?;
    let span = fields.span();
    let name = fields.need("test", sink).and_then(|e| text(&e.value, "`test:`", sink));
    let own = self::shared(&mut fields, sink);
    let expect = fields.need("expect", sink).map(|e| expect(e.value, sink));
    fields.finish(sink);
    let envoy = own.envoy.or_else(|| shared.envoy.clone());
    if envoy.is_none() {
        let finding = sink
            .say(&MISSING_KEY, super::fields::start_of(span), "a test has no `envoy:`")
            .label("`envoy:` is missing")
            .help("name a host, such as `envoy: web-01.example.com`; it needs not exist");
        sink.push(finding);
    }
    let mut vars: Variables = shared.vars.clone();
    vars.retain(|(known, _)| !own.vars.iter().any(|(name, _)| name.text == known.text));
    vars.extend(own.vars);
    Some(TestAst {
        name: name?,
        envoy: envoy?,
        environment: own.environment.or_else(|| shared.environment.clone()),
        traits: own.traits.or_else(|| shared.traits.clone()),
        vars,
        expect: expect?,
    })
}

fn traits(node: Node, sink: &mut Sink) -> Option<TraitsAst> {
    let span = node.span;
    if matches!(node.value, Value::Scalar(_)) {
        let fixture = text(&node, "`traits:`", sink);
        return Some(TraitsAst { span, fixture, own: Vec::new() });
    }
    let mut fields = Fields::of(node, "`traits:`", &[], sink)?;
    let fixture = fields.take("fixture").and_then(|e| text(&e.value, "`fixture:`", sink));
    let mut own = Vec::new();
    for entry in fields.rest() {
        let name = Name { text: Arc::from(entry.key.text), span: entry.key.span };
        own.push((name, Syn::new(entry.value, false, sink)));
    }
    Some(TraitsAst { span, fixture, own })
}

fn expect(node: Node, sink: &mut Sink) -> ExpectAst {
    let mut out = ExpectAst::default();
    let Some(mut fields) = Fields::of(node, "`expect:`", &EXPECT, sink) else { return out };
    out.modules = fields.take("modules").map(|e| matcher(e.value, sink));
    out.roles = fields.take("roles").map(|e| matcher(e.value, sink));
    out.vars = fields.take("vars").map(|e| matchers(e.value, "`vars:`", sink)).unwrap_or_default();
    out.order = fields.take("order").map(|e| names(e.value, "`order:`", false, sink)).unwrap_or_default();
    if let Some(list) = fields.take("resources")
        && let Some(fields) = Fields::of(list.value, "`resources:`", &[], sink)
    {
        for entry in fields.rest() {
            let name = Name { text: Arc::from(entry.key.text), span: entry.key.span };
            out.resources.extend(resource(entry.value, sink).map(|expected| (name, expected)));
        }
    }
    if let Some(entry) = fields.take("snapshot") {
        match entry.value.as_str() {
            Some("true") => out.snapshot = Some(entry.key.span),
            Some("false") => {}
            _ => wrong_kind(sink, entry.value.span, "`snapshot:`", "`true` or `false`", &entry.value.value),
        }
    }
    fields.finish(sink);
    out
}

fn resource(node: Node, sink: &mut Sink) -> Option<ResourceExpectation> {
    let span = node.span;
    match (&node.value, node.as_str()) {
        (_, Some("absent")) => Some(ResourceExpectation::Absent(span)),
        (_, Some("present")) => Some(ResourceExpectation::Present(span)),
        (Value::Map(_), _) => Some(ResourceExpectation::With(matchers(node, "a resource", sink))),
        (Value::Error, _) => None,
        (Value::Scalar(scalar), _) => {
            let message = format!("`{}` is nothing that can be expected of a resource", scalar.text);
            let finding = sink
                .say(&INVALID_VALUE, span, message)
                .label("not known")
                .help("write `present`, `absent`, or its attributes, such as `{ mode: \"0644\" }`");
            sink.push(finding);
            None
        }
        (other, _) => {
            let due = "`present`, `absent` or a mapping of attributes";
            wrong_kind(sink, span, "what is expected of a resource", due, other);
            None
        }
    }
}

fn matchers(node: Node, what: &str, sink: &mut Sink) -> Vec<(Name, Matcher)> {
    let Some(fields) = Fields::of(node, what, &[], sink) else { return Vec::new() };
    let mut out = Vec::new();
    for entry in fields.rest() {
        let name = Name { text: Arc::from(entry.key.text), span: entry.key.span };
        out.push((name, matcher(entry.value, sink)));
    }
    out
}

/// A mapping of which every key is a word of a matcher; everything else is the value itself.
fn matcher(node: Node, sink: &mut Sink) -> Matcher {
    let span = node.span;
    let words = match node.as_map() {
        Some(entries) if !entries.is_empty() => entries.iter().map(|e| Word::of(&e.key.text)).collect(),
        _ => None,
    };
    let words: Option<Vec<Word>> = words;
    let Some(words) = words else {
        return Matcher { span, all: vec![(Word::Equals, Syn::new(node, false, sink))] };
    };
    let entries = match node.value {
        Value::Map(entries) => entries,
        _ => Vec::new(),
    };
    let all: Vec<(Word, Syn)> =
        words.into_iter().zip(entries).map(|(word, e)| (word, Syn::new(e.value, false, sink))).collect();
    for (word, syn) in &all {
        check(*word, syn, sink);
    }
    Matcher { span, all }
}

fn check(word: Word, syn: &Syn, sink: &mut Sink) {
    let written = syn.as_text().map(|t| t.scalar.text.as_str());
    match (word, written) {
        (Word::Matches, Some(pattern)) => {
            if let Err(e) = regex::Regex::new(pattern) {
                let why = e.to_string().lines().last().unwrap_or_default().trim().to_owned();
                let finding = sink
                    .say(&INVALID_VALUE, syn.span, format!("`{pattern}` is not a regular expression"))
                    .label(why.trim_start_matches("error: ").to_owned());
                sink.push(finding);
            }
        }
        (Word::Matches, None) if !matches!(syn.kind, SynKind::Error) => {
            let finding = sink
                .say(
                    &INVALID_VALUE,
                    syn.span,
                    format!("`matches:` is a regular expression, not {}", syn.describe()),
                )
                .label(syn.describe());
            sink.push(finding);
        }
        (Word::Absent, Some("true" | "false")) => {}
        (Word::Absent, _) => {
            let finding = sink
                .say(
                    &INVALID_VALUE,
                    syn.span,
                    format!("`absent:` is `true` or `false`, not {}", syn.describe()),
                )
                .label("neither");
            sink.push(finding);
        }
        (Word::OneOf, _) if !matches!(syn.kind, SynKind::List(_) | SynKind::Error) => {
            let finding = sink
                .say(
                    &INVALID_VALUE,
                    syn.span,
                    format!("`one_of:` is a list of values, not {}", syn.describe()),
                )
                .label(syn.describe());
            sink.push(finding);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<TestAst>, Vec<String>) {
        let mut sink = Sink::new("tests/x.vgo".into());
        let tests = super::read(grammar::document::parse(text).root, &mut sink);
        (tests, sink.found.into_iter().map(|d| d.message).collect())
    }

    #[test]
    fn a_file_has_one_test_or_several_that_share_what_stands_beside_them() {
        let (one, found) = read("test: a\nenvoy: h\nexpect: { modules: [m] }\n");
        assert_eq!((one.len(), found), (1, vec![]));
        let several = "envoy: h\ntraits: debian12\nvars: { a: 1, b: 1 }\ntests:\n  - { test: one, expect: {} }\n  - { test: two, envoy: i, vars: { a: 2 }, traits: { os: { family: rhel } }, expect: {} }\n";
        let (tests, found) = read(several);
        assert_eq!(found, [""; 0]);
        assert_eq!(tests.iter().map(|t| &*t.envoy.text).collect::<Vec<_>>(), ["h", "i"]);
        let fixture =
            |t: &TestAst| t.traits.as_ref().and_then(|t| t.fixture.as_ref().map(|n| n.text.to_string()));
        assert_eq!(tests.iter().map(fixture).collect::<Vec<_>>(), [Some("debian12".into()), None]);
        assert_eq!(tests[1].vars.len(), 2);
    }

    #[test]
    fn mistakes_are_told_with_what_was_meant() {
        let told = |text: &str| read(text).1;
        assert_eq!(told("test: a\nenvoy: h\nexpct: {}\n").len(), 2);
        assert_eq!(told("test: a\nexpect: {}\n"), ["a test has no `envoy:`"]);
        let matcher = |m: &str| told(&format!("test: a\nenvoy: h\nexpect: {{ vars: {{ x: {m} }} }}\n"));
        assert_eq!(matcher("{ matches: '(' }"), ["`(` is not a regular expression"]);
        assert_eq!(matcher("{ absent: maybe }").len(), 1);
        assert_eq!(matcher("{ one_of: a }").len(), 1);
        assert_eq!(matcher("{ contains: a, lacks: [b] }"), [""; 0]);
        assert_eq!(matcher("{ key: a }"), [""; 0], "a map is a value");
        let twice = "envoy: h\ntests:\n  - { test: a, expect: {} }\n  - { test: a, expect: {} }\n";
        assert_eq!(told(twice), ["there is a test `a` already"]);
        let resource = "test: a\nenvoy: h\nexpect: { resources: { m.r: gone } }\n";
        assert_eq!(told(resource), ["`gone` is nothing that can be expected of a resource"]);
    }
}
