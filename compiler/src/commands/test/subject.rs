//! The host of a test: its class, with the traits and variables that the test gives it.

use super::Failed;
use crate::commands::failure::Failure;
use crate::commands::host::{Host, no_entry};
use crate::commands::{input, output};
use crate::diagnostic::codes::UNKNOWN_TRAIT;
use crate::diagnostic::nearest::suggest;
use crate::diagnostic::{Diagnostic, Sink};
use crate::facts::{all_traits_of_host, known_traits, shared_traits, traits_of_host};
use crate::policy::Policy;
use crate::resolve::class::declared_environments;
use crate::resolve::glob::normal;
use crate::schema::schema;
use crate::syntax::{Name, Syn, SynKind, TestAst};
use crate::types::Type;
use crate::values;
use ir::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The host of a test, or why there is none.
pub(super) fn host<'a>(policy: &'a Policy, file: &Arc<str>, test: &TestAst) -> Result<Host<'a>, Vec<Failed>> {
    let failed = |name: &Name, message: String| Failed::new(file, name.span, message);
    let refused = |failure: Failure| match failure {
        Failure::NoAnswer { message, help } => {
            vec![failed(&test.envoy, message).label("this host").help(help)]
        }
        other => vec![failed(&test.envoy, other.to_string()).label("this host")],
    };
    let hostname = normal(&test.envoy.text);
    if hostname.is_empty() || hostname.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/') {
        return Err(vec![
            failed(&test.envoy, format!("`{hostname}` is not a host name")).label("no host name"),
        ]);
    }
    let Some(mut key) = policy.class_of(&hostname) else { return Err(refused(no_entry(policy, &hostname))) };
    let (db, project) = policy.queries();
    if let Some(environment) = &test.environment {
        let declared = declared_environments(db, project);
        if !declared.contains(&environment.text) {
            let message = format!("nothing declares the environment `{}`", environment.text);
            let help = suggest(&environment.text, declared.iter().map(|e| &**e));
            return Err(vec![failed(environment, message).label("not declared").help(help)]);
        }
        key.environment = Some(environment.text.clone());
    }
    let mut sink = Sink::new(file.clone());
    let Known { shared, all } = traits(test, &hostname, &mut sink).unwrap_or_default();
    if !sink.found.is_empty() {
        return Err(of_findings(sink.found));
    }
    let class = |vars| policy.class_with(&key, vars).ok_or_else(|| refused(no_entry(policy, &hostname)));
    let plain = Host::of(policy, &hostname, class(Vec::new())?, shared.clone(), all.clone());
    let host = match variables(&plain, test, &mut sink) {
        _ if !sink.found.is_empty() => return Err(of_findings(sink.found)),
        vars if vars.is_empty() => plain,
        vars => Host::of(policy, &hostname, class(vars)?, shared, all),
    };
    let errors = host.errors();
    if !errors.is_empty() {
        let message = format!("the policy has {} for this host", output::count(errors.len(), "error"));
        let mut out = vec![failed(&test.envoy, message).label("this host")];
        out.extend(of_findings(errors));
        return Err(out);
    }
    host.need_no_errors().and_then(|()| host.need_traits()).map_err(refused)?;
    Ok(host)
}

fn of_findings(found: Vec<Diagnostic>) -> Vec<Failed> {
    let failed =
        |finding| Failed { finding, detail: None, expected: Default::default(), actual: Default::default() };
    found.into_iter().map(failed).collect()
}

/// Traits that are known: the shared ones, and all.
#[derive(Default)]
struct Known {
    shared: Vec<(Arc<str>, Value)>,
    all: Vec<(Arc<str>, Value)>,
}

/// With a fixture, what is not given is absent; without, it is not known.
fn traits(test: &TestAst, hostname: &str, sink: &mut Sink) -> Option<Known> {
    let given = test.traits.as_ref()?;
    let mut out = Value::Map(BTreeMap::new());
    if let Some(name) = &given.fixture {
        let Some((_, text)) = stdlib::fixtures().find(|(known, _)| *known == &*name.text) else {
            let finding = sink
                .say(&UNKNOWN_TRAIT, name.span, format!("there is no fixture `{}`", name.text))
                .label("unknown fixture");
            let known: Vec<&str> = stdlib::fixtures().map(|(name, _)| name).collect();
            let help = crate::diagnostic::nearest::did_you_mean(&name.text, known.iter().copied())
                .unwrap_or_else(|| format!("there are {}", crate::diagnostic::nearest::listed(known)));
            let finding = finding.help(help);
            sink.push(finding);
            return None;
        };
        out = fixture(text)?;
        put(&mut out, "network.hostname", Value::str(hostname.split('.').next().unwrap_or_default()));
        put(&mut out, "network.fqdn", Value::str(hostname));
    }
    for (name, syn) in &given.own {
        own(&name.text, name, syn, &mut out, sink);
    }
    Some(match given.fixture {
        Some(_) => Known { shared: traits_of_host(&out), all: all_traits_of_host(&out) },
        None => Known { shared: shared_traits(&out), all: known_traits(&out, |_| true) },
    })
}

/// The traits of a fixture.
pub(super) fn fixture(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().and_then(|json| input::value(&json).ok())
}

/// Reads a trait or a group of them, as `os: { family: debian }` or `os.family: debian`.
fn own(path: &str, name: &Name, syn: &Syn, out: &mut Value, sink: &mut Sink) {
    let known = schema();
    if let Some(of) = known.traits.get(path) {
        if let Some(value) = values::typed(syn, &of.ty, &format!("trait `{path}`"), sink) {
            put(out, path, value);
        }
        return;
    }
    if !known.is_trait_group(path) {
        let finding = sink
            .say(&UNKNOWN_TRAIT, name.span, format!("there is no trait `{path}`"))
            .label("unknown trait")
            .maybe_help(suggest(path, known.traits.keys().map(|k| &**k)));
        sink.push(finding);
        return;
    }
    match &syn.kind {
        SynKind::Map(entries) => {
            for (key, value) in entries {
                let name = Name { text: key.text.as_str().into(), span: key.span };
                own(&format!("{path}.{}", key.text), &name, value, out, sink);
            }
        }
        SynKind::Error => {}
        _ => {
            let message = format!("`{path}` is a group of traits, not {}", syn.describe());
            let finding =
                sink.say(&crate::diagnostic::codes::TYPE_MISMATCH, syn.span, message).label(syn.describe());
            sink.push(finding);
        }
    }
}

/// Sets a value at a dotted path, with maps on the way.
fn put(out: &mut Value, path: &str, value: Value) {
    let Value::Map(map) = out else { return };
    match path.split_once('.') {
        None => drop(map.insert(path.into(), value)),
        Some((first, rest)) => {
            let inner = map.entry(first.into()).or_insert_with(|| Value::Map(BTreeMap::new()));
            put(inner, rest, value);
        }
    }
}

/// The variables of a test, typed as they are for the host.
fn variables(host: &Host<'_>, test: &TestAst, sink: &mut Sink) -> Vec<(Arc<str>, Value)> {
    let mut out = Vec::new();
    for (name, syn) in &test.vars {
        let Some(known) = host.vars.by_name.get(&name.text) else {
            let message = format!("no layer sets `{}` for `{}`", name.text, host.name);
            let finding = sink
                .say(&crate::diagnostic::codes::UNKNOWN_VARIABLE, name.span, message)
                .label("not a variable of this host")
                .maybe_help(suggest(&name.text, host.vars.by_name.keys().map(|k| &**k)));
            sink.push(finding);
            continue;
        };
        let value = match &known.ty {
            Type::Any => values::untyped(syn, sink),
            ty => values::typed(syn, ty, &format!("`{}`", name.text), sink),
        };
        out.extend(value.map(|value| (name.text.clone(), value)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixtures_have_every_trait_that_is_always_there_in_its_type() {
        let decided_by_the_name = ["network.hostname", "network.fqdn"];
        let names: Vec<&str> = stdlib::fixtures().map(|(name, _)| name).collect();
        assert!(names.contains(&"debian12") && names.contains(&"rocky9") && names.is_sorted());
        for (name, text) in stdlib::fixtures() {
            let traits = fixture(text).unwrap_or_else(|| panic!("{name} is no JSON of traits"));
            input::check_traits(&traits).unwrap_or_else(|why| panic!("{name}: {why}"));
            let known = known_traits(&traits, |_| true);
            for (path, of) in &schema().traits {
                let there = known.iter().any(|(k, _)| k == path);
                // traits of a single host may be left for a test to give
                assert!(
                    !of.shared || of.optional || there || decided_by_the_name.contains(&&**path),
                    "{name}: no {path}"
                );
            }
        }
    }
}
