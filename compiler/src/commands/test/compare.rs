//! Whether a value is what a test expects of it.

use crate::commands::output;
use crate::commands::residual::{value_json, value_text};
use crate::syntax::test::{Matcher, Word};
use crate::syntax::{Syn, SynKind, Text};
use grammar::document::Core;
use ir::unparse::template_text;
use ir::{Expr, Value};
use serde_json::{Map, Value as Json};
use similar::{Algorithm, TextDiffConfig};
use std::time::Duration;

/// An expectation that does not hold.
#[derive(Debug)]
pub(super) struct Mismatch {
    /// `is ..., not ...`: goes on after the name of what is compared.
    pub(super) said: String,
    /// The place of the expectation.
    pub(super) span: grammar::Span,
    pub(super) detail: Option<String>,
    pub(super) expected: Json,
}

/// Checks a value, `None` where there is none.
pub(super) fn compare(matcher: &Matcher, actual: Option<&Value>) -> Vec<Mismatch> {
    // to a test, what is null is not there
    let actual = actual.filter(|v| **v != Value::Null);
    let wrong = matcher.all.iter().filter(|(word, syn)| !holds(*word, syn, actual));
    wrong
        .map(|(word, syn)| Mismatch {
            said: said(*word, syn, actual),
            span: syn.span,
            detail: detail(*word, syn, actual),
            expected: syn_json(syn),
        })
        .collect()
}

/// An attribute as a value: what only the agent can finish is text, as it stands in a template.
pub(super) fn value_of(expr: &Expr) -> Value {
    match expr {
        Expr::Const(value) => value.clone(),
        Expr::List(items) => Value::List(items.iter().map(value_of).collect()),
        Expr::Map(entries) => Value::Map(entries.iter().map(|(key, e)| (key.clone(), value_of(e))).collect()),
        other => Value::from(template_text(other)),
    }
}

fn holds(word: Word, syn: &Syn, actual: Option<&Value>) -> bool {
    match word {
        Word::Equals => is(syn, actual),
        Word::Not => !is(syn, actual),
        Word::Contains => parts(syn).iter().all(|part| contains(part, actual)),
        Word::Lacks => !parts(syn).iter().any(|part| contains(part, actual)),
        Word::Matches => {
            let pattern = syn.as_text().and_then(|t| regex::Regex::new(&t.scalar.text).ok());
            let text = actual.and_then(text_of);
            pattern.zip(text).is_some_and(|(pattern, text)| pattern.is_match(&text))
        }
        Word::OneOf => match &syn.kind {
            SynKind::List(items) => items.iter().any(|item| is(item, actual)),
            _ => is(syn, actual),
        },
        Word::Absent => syn.as_text().is_some_and(|t| t.scalar.text == "true") == actual.is_none(),
    }
}

fn is(syn: &Syn, actual: Option<&Value>) -> bool {
    match actual {
        Some(actual) => equals(syn, actual),
        None => equals(syn, &Value::Null),
    }
}

/// As everywhere in the language, the place decides: where a text is, the expectation is taken as text.
fn equals(syn: &Syn, actual: &Value) -> bool {
    match (&syn.kind, actual) {
        (SynKind::Empty, Value::Null) => true,
        (SynKind::Text(text), actual) => scalar_equals(text, actual),
        (SynKind::List(items), Value::List(values)) => {
            items.len() == values.len() && items.iter().zip(values).all(|(s, v)| equals(s, v))
        }
        (SynKind::Map(entries), Value::Map(map)) => {
            entries.len() == map.len()
                && entries.iter().all(|(k, s)| map.get(k.text.as_str()).is_some_and(|v| equals(s, v)))
        }
        _ => false,
    }
}

fn scalar_equals(text: &Text, actual: &Value) -> bool {
    let written = text.scalar.text.as_str();
    let core = text.is_plain().then(|| text.scalar.core());
    match actual {
        Value::Str(s) => **s == *written,
        Value::Secret(path) => written.strip_prefix("secret:") == Some(path),
        Value::Null => core == Some(Core::Null),
        Value::Bool(b) => core == Some(Core::Bool(*b)),
        Value::Int(i) => core == Some(Core::Int(*i)),
        Value::Float(f) => match core {
            Some(Core::Float(written)) => written == f.get(),
            Some(Core::Int(written)) => written as f64 == f.get(),
            _ => false,
        },
        Value::Bytes(_) | Value::List(_) | Value::Map(_) => false,
    }
}

fn parts(syn: &Syn) -> Vec<&Syn> {
    match &syn.kind {
        SynKind::List(items) => items.iter().collect(),
        _ => vec![syn],
    }
}

fn contains(part: &Syn, actual: Option<&Value>) -> bool {
    let written = part.as_text().map(|t| t.scalar.text.as_str());
    match actual {
        Some(Value::List(items)) => items.iter().any(|item| equals(part, item)),
        Some(Value::Map(map)) => written.is_some_and(|key| map.contains_key(key)),
        Some(other) => written.zip(text_of(other)).is_some_and(|(part, text)| text.contains(part)),
        None => false,
    }
}

/// Text in which something can be looked for.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Str(s) => Some(s.to_string()),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => ir::render(value).ok(),
        _ => None,
    }
}

/// Characters of a value in a sentence.
const WIDE: usize = 60;

fn short(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value_text(value), str::to_owned);
    output::short(&text.replace('\n', "\\n"), WIDE)
}

fn said(word: Word, syn: &Syn, actual: Option<&Value>) -> String {
    let expected = || output::short(&syn_text(syn).replace('\n', "\\n"), WIDE);
    let missing = || {
        let missing = parts(syn).into_iter().find(|part| !contains(part, actual));
        missing.map(|part| output::short(&syn_text(part), WIDE)).unwrap_or_default()
    };
    let Some(actual) = actual else {
        return match word {
            Word::Absent => "is absent".into(),
            _ => "is absent, and has no value to compare".into(),
        };
    };
    match word {
        Word::Equals if is_long(syn, actual) => "is another text".into(),
        Word::Equals => format!("is `{}`, not `{}`", short(actual), expected()),
        Word::Not => format!("is `{}`", short(actual)),
        Word::Contains => format!("does not contain `{}`", missing()),
        Word::Lacks => {
            let found = parts(syn).into_iter().find(|part| contains(part, Some(actual)));
            format!(
                "contains `{}`",
                found.map(|part| output::short(&syn_text(part), WIDE)).unwrap_or_default()
            )
        }
        Word::Matches => format!("does not match `{}`", expected()),
        Word::OneOf => format!("is `{}`, which is none of these", short(actual)),
        Word::Absent => format!("is `{}`", short(actual)),
    }
}

fn is_long(syn: &Syn, actual: &Value) -> bool {
    let lines = |text: &str| text.trim_end().contains('\n');
    actual.as_str().is_some_and(lines) && syn.as_text().is_some_and(|t| lines(&t.scalar.text))
}

/// Lines of a text that are shown where a part of it is missing.
const SHOWN: usize = 20;

fn detail(word: Word, syn: &Syn, actual: Option<&Value>) -> Option<String> {
    let actual = actual?;
    let long = is_long(syn, actual);
    let actual = actual.as_str()?;
    match word {
        Word::Equals if long => Some(difference(&syn.as_text()?.scalar.text, actual)),
        Word::Contains | Word::Matches if actual.contains('\n') => {
            let mut out: String = actual.lines().take(SHOWN).map(|line| format!("  {line}\n")).collect();
            let left = actual.lines().count().saturating_sub(SHOWN);
            if left > 0 {
                out.push_str(&format!("  … {}\n", output::count(left, "more line")));
            }
            Some(out)
        }
        _ => None,
    }
}

/// `-` expected, `+` actual.
pub(super) fn difference(expected: &str, actual: &str) -> String {
    let mut config = TextDiffConfig::default();
    config.algorithm(Algorithm::Myers).timeout(Duration::from_millis(500));
    let diff = config.diff_lines(expected, actual);
    diff.unified_diff().context_radius(3).header("expected", "actual").to_string()
}

/// As written, on one line.
fn syn_text(syn: &Syn) -> String {
    match &syn.kind {
        SynKind::Text(text) => text.scalar.text.clone(),
        SynKind::Empty | SynKind::Error => "null".into(),
        SynKind::List(_) | SynKind::Map(_) => syn_json(syn).to_string(),
    }
}

/// As written.
fn syn_json(syn: &Syn) -> Json {
    match &syn.kind {
        SynKind::Text(text) if text.is_plain() => match text.scalar.core() {
            Core::Null => Json::Null,
            Core::Bool(b) => b.into(),
            Core::Int(i) => i.into(),
            Core::Float(f) => f.into(),
            Core::Str | Core::OutOfRange => text.scalar.text.as_str().into(),
        },
        SynKind::Text(text) => text.scalar.text.as_str().into(),
        SynKind::Empty | SynKind::Error => Json::Null,
        SynKind::List(items) => items.iter().map(syn_json).collect(),
        SynKind::Map(entries) => {
            Json::Object(entries.iter().map(|(k, s)| (k.text.clone(), syn_json(s))).collect::<Map<_, _>>())
        }
    }
}

/// A value for programs.
pub(super) fn actual_json(actual: Option<&Value>) -> Json {
    actual.map_or(Json::Null, value_json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Sink;

    /// What is said about `actual` when `expected` is expected of it.
    fn told(expected: &str, actual: Option<Value>) -> Vec<String> {
        let text = format!("test: t\nenvoy: h\nexpect: {{ vars: {{ x: {expected} }} }}\n");
        let mut sink = Sink::new("tests/t.vgo".into());
        let tests = crate::syntax::test::read(grammar::document::parse(&text).root, &mut sink);
        assert!(sink.found.is_empty(), "{expected}: {:?}", sink.found);
        compare(&tests[0].expect.vars[0].1, actual.as_ref()).into_iter().map(|m| m.said).collect()
    }

    fn list(items: &[&str]) -> Value {
        Value::List(items.iter().map(Value::str).collect())
    }

    #[test]
    fn the_place_decides_what_is_equal() {
        let holds = |expected: &str, actual: Value| told(expected, Some(actual)).is_empty();
        assert!(holds("1.10", Value::str("1.10")) && holds("'0644'", Value::str("0644")));
        assert!(holds("8080", Value::Int(8080)) && !holds("'8080'", Value::Int(8080)));
        assert!(holds("true", Value::Bool(true)) && !holds("\"true\"", Value::Bool(true)));
        assert!(holds("yes", Value::str("yes")) && !holds("yes", Value::Bool(true)));
        assert!(holds("2", Value::Float(ir::Finite::new(2.0).unwrap())));
        assert!(
            holds("secret:a/b", Value::Secret("a/b".into())) && !holds("a/b", Value::Secret("a/b".into()))
        );
        assert!(holds("[a, b]", list(&["a", "b"])) && !holds("[a]", list(&["a", "b"])));
        let map = Value::Map([("k".into(), Value::Int(1))].into());
        assert!(holds("{ k: 1 }", map.clone()) && !holds("{ k: 1, l: 2 }", map.clone()));
        assert!(holds("{ contains: k }", map));
    }

    #[test]
    fn every_word_says_what_is_wrong() {
        let text = || Some(Value::str("listen 80"));
        for (expected, actual, said) in [
            ("a", text(), "is `listen 80`, not `a`"),
            ("{ not: listen 80 }", text(), "is `listen 80`"),
            ("{ contains: \"443\" }", text(), "does not contain `443`"),
            ("{ contains: [listen, ssl] }", text(), "does not contain `ssl`"),
            ("{ lacks: [ssl, listen] }", text(), "contains `listen`"),
            ("{ matches: ' 4..$' }", text(), "does not match ` 4..$`"),
            ("{ one_of: [a, b] }", text(), "is `listen 80`, which is none of these"),
            ("{ absent: true }", text(), "is `listen 80`"),
            ("{ absent: false }", None, "is absent"),
            ("a", None, "is absent, and has no value to compare"),
            ("{ contains: b }", Some(list(&["a"])), "does not contain `b`"),
        ] {
            assert_eq!(told(expected, actual), [said], "{expected}");
        }
        for (expected, actual) in [
            (
                "{ contains: listen, matches: '^listen [0-9]+$', lacks: ssl, not: x, one_of: [listen 80] }",
                text(),
            ),
            ("{ absent: true }", None),
            ("{ absent: false }", text()),
            ("null", None),
            ("{ lacks: a }", None),
        ] {
            assert_eq!(told(expected, actual), [""; 0], "{expected}");
        }
    }
}
