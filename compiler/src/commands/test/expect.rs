//! What a test expects of its host, one expectation after the other.

use super::Failed;
use super::compare::{actual_json, compare, value_of};
use crate::commands::host::Host;
use crate::commands::resolve::state::{Resource, State};
use crate::db::SourceFile;
use crate::diagnostic::nearest::suggest;
use crate::resolve::class::roles;
use crate::resolve::index::index;
use crate::resolve::interface::module;
use crate::resolve::vars::VarValue;
use crate::schema::schema;
use crate::specialise::edges::Target;
use crate::syntax::test::{ExpectAst, Matcher, ResourceExpectation};
use crate::syntax::{Name, ResourceAst, SynKind};
use grammar::template::Piece;
use ir::Value;
use ir::unparse::when_text;
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// Everything that does not hold.
pub(super) fn check(host: &Host<'_>, state: &State, file: &Arc<str>, expect: &ExpectAst) -> Vec<Failed> {
    let mut work = Work { host, state, file, out: Vec::new() };
    if let Some(matcher) = &expect.modules {
        let known: Vec<&str> = index(host.db, host.project).modules.keys().map(|k| &**k).collect();
        work.list("modules", "module", matcher, &state.modules, &known);
    }
    if let Some(matcher) = &expect.roles {
        let known: Vec<&str> = roles(host.db, host.project).0.iter().map(|r| &*r.name.text).collect();
        work.list("roles", "role", matcher, &host.resolved.roles, &known);
    }
    expect.vars.iter().for_each(|(name, matcher)| work.variable(name, matcher));
    for (name, expected) in &expect.resources {
        work.resource(name, expected);
    }
    work.order(&expect.order);
    work.out
}

struct Work<'a> {
    host: &'a Host<'a>,
    state: &'a State,
    file: &'a Arc<str>,
    out: Vec<Failed>,
}

/// Why a resource is not there.
enum Missing {
    /// There is such a resource, and something keeps it out.
    Out(String),
    /// There is none of this name; perhaps another one is meant.
    Unknown(String, Option<String>),
}

impl Work<'_> {
    /// What fails, with what there is to say about it.
    fn fail(&mut self, span: grammar::Span, message: String, help: Option<String>) {
        self.push(span, message, help, Json::Null, Json::Null, None);
    }

    fn push(
        &mut self,
        span: grammar::Span,
        message: String,
        help: Option<String>,
        expected: Json,
        actual: Json,
        detail: Option<String>,
    ) {
        let failed = Failed::new(self.file, span, message).label("expected here").help(help);
        self.out.push(Failed { expected, actual, detail, ..failed });
    }

    /// A bare list is about what has to be there, in this order; words are about the whole list.
    fn list(&mut self, what: &str, one: &str, matcher: &Matcher, actual: &[Arc<str>], known: &[&str]) {
        let value = Value::List(actual.iter().map(|name| Value::Str(name.clone())).collect());
        let bare = matcher.all.first().filter(|(_, syn)| syn.span == matcher.span);
        let mut names: Vec<Name> = Vec::new();
        for (_, syn) in &matcher.all {
            let items = match &syn.kind {
                SynKind::List(items) => items.iter().collect(),
                _ => vec![syn],
            };
            let text = items.iter().filter_map(|s| Some((s.as_text()?.scalar.text.as_str(), s.span)));
            names.extend(text.map(|(text, span)| Name { text: text.into(), span }));
        }
        let unknown: Vec<&Name> = names.iter().filter(|n| !known.contains(&&*n.text)).collect();
        if !unknown.is_empty() {
            for name in unknown {
                let help = suggest(&name.text, known.iter().copied());
                self.fail(name.span, format!("there is no {one} `{}`", name.text), help);
            }
            return;
        }
        if bare.is_none() {
            for mismatch in compare(matcher, Some(&value)) {
                let message = format!("the list of {what} {}", mismatch.said);
                self.push(mismatch.span, message, None, mismatch.expected, actual_json(Some(&value)), None);
            }
            return;
        }
        let mut at = 0;
        for name in &names {
            let place = actual.iter().position(|a| *a == name.text);
            let message = match place {
                None => format!("{one} `{}` is not there", name.text),
                Some(place) if place < at => {
                    let before = actual.get(at - 1).map(|n| &**n).unwrap_or_default();
                    format!("{one} `{}` comes before `{before}`, not after it", name.text)
                }
                Some(place) => {
                    at = place + 1;
                    continue;
                }
            };
            let list: Vec<&str> = actual.iter().map(|n| &**n).collect();
            let help = Some(format!("the {what} are {}", list.join(", ")));
            let expected = json!(names.iter().map(|n| &*n.text).collect::<Vec<_>>());
            self.push(name.span, message, help, expected, json!(list), None);
            break;
        }
    }

    fn variable(&mut self, name: &Name, matcher: &Matcher) {
        let actual = match self.host.vars.by_name.get(&name.text).map(|v| &v.value) {
            Some(VarValue::Set(value)) => Some(Value::clone(value)),
            Some(VarValue::Unset) => None,
            Some(VarValue::Undecided) => {
                self.fail(name.span, format!("`{}` depends on traits that were not given", name.text), None);
                return;
            }
            None => {
                let known: Vec<Arc<str>> = self.host.vars.by_name.keys().cloned().collect();
                let help = suggest(&name.text, known.iter().map(|k| &**k));
                self.fail(name.span, format!("no layer sets `{}` for this host", name.text), help);
                return;
            }
        };
        self.value(&format!("`{}`", name.text), matcher, actual.as_ref());
    }

    fn value(&mut self, what: &str, matcher: &Matcher, actual: Option<&Value>) {
        for mismatch in compare(matcher, actual) {
            let message = format!("{what} {}", mismatch.said);
            self.push(mismatch.span, message, None, mismatch.expected, actual_json(actual), mismatch.detail);
        }
    }

    fn resource(&mut self, name: &Name, expected: &ResourceExpectation) {
        let found = self.state.resources.iter().find(|r| r.full_name() == *name.text);
        match (expected, found) {
            (ResourceExpectation::Absent(span), Some(r)) => {
                let when = r
                    .when
                    .as_ref()
                    .map(|w| format!("only the agent decides its condition: {}", when_text(w)));
                let message = format!("`{}` is there", name.text);
                self.push(*span, message, when, json!("absent"), json!("present"), None);
            }
            (ResourceExpectation::Absent(_), None) => {
                if let Missing::Unknown(why, help) = self.missing(&name.text) {
                    self.fail(name.span, why, help);
                }
            }
            (ResourceExpectation::Present(_), Some(_)) => {}
            (ResourceExpectation::With(attributes), Some(r)) => {
                attributes.iter().for_each(|(key, matcher)| self.attribute(r, key, matcher));
            }
            (ResourceExpectation::Present(_) | ResourceExpectation::With(_), None) => {
                let (message, help) = match self.missing(&name.text) {
                    Missing::Out(why) => (format!("`{}` is not there: {why}", name.text), None),
                    Missing::Unknown(why, help) => (why, help),
                };
                self.push(name.span, message, help, json!("present"), json!("absent"), None);
            }
        }
    }

    fn missing(&self, full: &str) -> Missing {
        let host = self.host;
        let Some((module, name)) = full.split_once('.') else {
            return Missing::Unknown(format!("`{full}` is not written as MODULE.RESOURCE"), None);
        };
        let modules = &index(host.db, host.project).modules;
        let Some(file) = modules.get(module) else {
            let help = suggest(module, modules.keys().map(|k| &**k));
            return Missing::Unknown(format!("there is no module `{module}`"), help);
        };
        let assigned = host.resolved.modules.iter().any(|m| **m == *module);
        let of_host = host.specialised(*file);
        let declared = declared(host, *file);
        if assigned {
            if let Some(instance) = of_host.instances.iter().find(|i| *i.name == *name) {
                let gated = !self.state.modules.iter().any(|m| **m == *module);
                let whose =
                    if gated && !instance.dropped { "the condition of its module" } else { "its condition" };
                return Missing::Out(format!("{whose} is false"));
            }
            if of_host.gated && declared.iter().any(|d| d.means(name)) {
                return Missing::Out("the condition of its module is false".into());
            }
        } else if declared.iter().any(|d| d.means(name)) {
            return Missing::Out(format!("module `{module}` is not assigned to this host"));
        }
        if declared.iter().any(|d| d.means(name)) {
            return Missing::Out("the list of its `foreach:` has no such item".into());
        }
        let help = suggest(name, declared.iter().filter_map(Target::exact));
        Missing::Unknown(format!("module `{module}` has no resource `{name}`"), help)
    }

    fn attribute(&mut self, r: &Resource, key: &Name, matcher: &Matcher) {
        let what = format!("`{}` of `{}`", key.text, r.full_name());
        let names = |list: &[String]| Value::List(list.iter().map(Value::str).collect());
        let actual = match &*key.text {
            "type" => Some(Value::Str(r.kind.clone())),
            "when" => r.when.as_ref().map(|w| Value::from(when_text(w))),
            "depends_on" => Some(names(&r.depends_on)),
            "notify" => Some(names(&r.notify)),
            name => {
                let kind = schema().types.get(&r.kind);
                let attribute = kind.and_then(|k| k.attributes.get(name));
                let written = r.attributes.iter().find(|(known, _)| **known == *name);
                if attribute.is_none() && written.is_none() {
                    let known = kind.into_iter().flat_map(|k| k.attributes.keys().map(|k| &**k));
                    let help = suggest(name, known.chain(["type", "when", "depends_on", "notify"]));
                    self.fail(key.span, format!("type `{}` has no attribute `{name}`", r.kind), help);
                    return;
                }
                // what is not written is as the type has it
                match written {
                    Some((_, expr)) => Some(value_of(expr)),
                    None => attribute.and_then(|a| a.default.clone()),
                }
            }
        };
        self.value(&what, matcher, actual.as_ref());
    }

    fn order(&mut self, names: &[Name]) {
        let mut last: Option<(usize, &Name)> = None;
        for name in names {
            let Some(place) = self.state.resources.iter().position(|r| r.full_name() == *name.text) else {
                let (message, help) = match self.missing(&name.text) {
                    Missing::Out(why) => (format!("`{}` does not run: {why}", name.text), None),
                    Missing::Unknown(why, help) => (why, help),
                };
                self.fail(name.span, message, help);
                continue;
            };
            if let Some((before, earlier)) = last
                && place < before
            {
                let message = format!("`{}` runs before `{}`, not after it", name.text, earlier.text);
                self.fail(name.span, message, None);
                return;
            }
            last = Some((place, name));
        }
    }
}

/// Names of the resources of a module, whoever gets it; one with a template in it is a pattern.
fn declared(host: &Host<'_>, file: SourceFile) -> Vec<Target> {
    let resources = module(host.db, file).map(|m| m.resources.as_slice()).unwrap_or_default();
    let name = |r: &ResourceAst| match (&r.name, &r.kind) {
        (Some(name), _) => {
            let text = name.as_text()?;
            let part = |piece: &Piece| match piece {
                Piece::Text { text, .. } => text.clone(),
                _ => "*".to_owned(),
            };
            Some(match &text.template {
                Some(template) => template.nodes.iter().map(part).collect(),
                None => text.scalar.text.clone(),
            })
        }
        // named after what it manages
        (None, Some(kind)) => Some(format!("{}:*", kind.text)),
        (None, None) => None,
    };
    resources.iter().filter_map(name).map(|name: String| Target::new(&name)).collect()
}
