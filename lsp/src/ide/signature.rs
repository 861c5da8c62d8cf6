//! How the function around the cursor is called.

use super::expression::{Expression, Language, cursor, expression_at};
use super::place::Marked;
use super::place::Step;
use super::shape::{Shape, shape};
use super::{Source, hover};
use compiler::reference::call;
use compiler::schema::schema;
use compiler::syntax::Kind;
use grammar::Span;

/// A signature with one of its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The whole, such as `default any any`.
    pub label: String,
    /// In Markdown.
    pub doc: String,
    /// Where its parameters stand in the label, as bytes.
    pub parameters: Vec<(u32, u32)>,
    /// The one that is being written.
    pub active: Option<u32>,
}

/// The signature of the call around a position.
pub fn signature(source: &Source, at: u32) -> Option<Signature> {
    let parsed = source.parsed();
    let expression = match expression_at(source, &parsed, at) {
        Some(expression) => expression,
        None if source.kind == Kind::Template => return None,
        // half a condition may not be in the tree
        None => {
            let typing = Marked::new(&source.text, at as usize)?.typing();
            let mut way = typing.way.clone();
            way.push(Step::Key(typing.of.clone()?));
            let when = shape(source.kind, &way) == Shape::Condition;
            when.then_some(Expression { language: Language::When, span: Span::new(typing.start, at) })?
        }
    };
    let (name, number) = cursor(&source.text, expression, at).call?;
    let f = schema().functions.get(name.as_str())?;
    let when = expression.language == Language::When;
    let label = call(&name, f, when);
    let inner = label.get(name.len()..).unwrap_or_default();
    let separator = if when { ", " } else { " " };
    let inner = inner.trim_start_matches(['(', ' ']).trim_end_matches(')');
    let mut start = label.find(inner).filter(|_| !inner.is_empty()).unwrap_or(label.len());
    let mut parameters = Vec::new();
    for part in inner.split(separator).filter(|p| !p.is_empty()) {
        parameters.push((start as u32, (start + part.len()) as u32));
        start += part.len() + separator.len();
    }
    let last = parameters.len().checked_sub(1).map(|n| n as u32);
    // any further argument is one of the last kind
    let active = last.map(|last| (number as u32).min(last));
    let doc = hover::function(&name, expression.language).unwrap_or_default();
    Some(Signature { label, doc, parameters, active })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ide::fixture::{ACME, Fixture};

    fn of(mark: &str, with: &str) -> Option<(String, Option<String>)> {
        let fixture = Fixture::new(&ACME.replacen(mark, with, 1));
        let source = fixture.ide().source(&fixture.file).unwrap();
        let s = signature(&source, fixture.at)?;
        let active = s.active.map(|n| {
            let (from, to) = s.parameters[n as usize];
            s.label[from as usize..to as usize].to_owned()
        });
        Some((s.label, active))
    }

    #[test]
    fn the_argument_that_is_being_written_is_marked() {
        let when = |text: &str| of("when: os_family('debian') && vars.port == 80", &format!("when: {text}"));
        let (label, active) = when("hour_range(2, $0").unwrap();
        assert!(label.starts_with("hour_range("), "{label}");
        assert_eq!(active.as_deref(), Some("0 to 24"));
        let (_, active) = when("os_family('debian', $0").unwrap();
        assert_eq!(active.as_deref(), Some("string..."));
        assert_eq!(when("is_container $0"), None);
        let (label, active) = of("{{ .Vars.port }}\"", "{{ replace \\\"a\\\" $0 }}\"").unwrap();
        assert_eq!((label.as_str(), active.as_deref()), ("replace string string string", Some("string")));
    }
}
