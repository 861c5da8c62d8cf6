//! `--resource`: what a resource is for a host.

use super::{Answer, condition, table, unknown};
use crate::commands::failure::Failure;
use crate::commands::host::Host;
use crate::commands::output::place;
use crate::commands::residual::{attribute_json, attribute_text, condition_json};
use crate::commands::resolve::state::State;
use crate::diagnostic::nearest::suggest;
use crate::facts::ClassFacts;
use crate::resolve::index::index;
use crate::specialise::Specialised;
use crate::specialise::typed::{NameForm, TypedAttribute, TypedModule, TypedResource};
use crate::syntax::Name;
use ir::unparse::when_text;
use ir::{Budget, Expr, Outcome, Value};
use serde_json::{Map, Value as Json, json};
use std::sync::Arc;

/// A module that a host gets.
pub(super) struct Assigned<'a> {
    name: Arc<str>,
    pub(super) path: Arc<str>,
    pub(super) typed: &'a TypedModule,
    specialised: &'a Specialised,
}

pub(super) fn explain(host: &Host<'_>, name: &str) -> Result<Answer, Failure> {
    let Some((module, resource)) = name.split_once('.') else {
        return Err(Failure::Usage(format!("write `{name}` as MODULE.RESOURCE")));
    };
    let found = assigned(host, module)?;
    let (typed, facts) = found.resource(host, resource)?;
    let state = State::of(host, false);
    let here = state.resources.iter().find(|r| *r.module == *module && *r.name == *resource);
    let line = host.line(&found.path, typed.span.start);
    let said = match here {
        None => "absent",
        Some(r) if r.when.is_some() => "under a condition",
        Some(_) => "always",
    };
    let head =
        vec![format!("{name}   {}", typed.kind.name), said.to_owned(), format!("{}:{line}", found.path)];
    let mut rows = Vec::new();
    let mut attributes = Map::new();
    for (attribute, expr) in here.into_iter().flat_map(|r| &r.attributes) {
        let at = attribute_place(typed, attribute, &facts).map_or(line, |at| host.line(&found.path, at));
        rows.push(vec![format!("  {attribute}"), attribute_text(expr), format!("{}:{at}", found.path)]);
        let mut json = place(&found.path, at);
        json["value"] = attribute_json(expr);
        attributes.insert(attribute.to_string(), json);
    }
    let (depends_on, notify) = here.map(|r| (r.depends_on.clone(), r.notify.clone())).unwrap_or_default();
    for (key, list) in [("after", &depends_on), ("notifies", &notify)] {
        if !list.is_empty() {
            rows.push(vec![format!("  {key}"), list.join(", ")]);
        }
    }
    let when = here.and_then(|r| r.when.as_ref());
    if let Some(when) = when {
        rows.push(vec!["  when".into(), when_text(when)]);
    }
    let mut text = table(&[head]) + &table(&rows);
    if here.is_none() {
        let conditions = found.typed.when.iter().chain(typed.when.as_deref());
        for when in conditions {
            text.push_str(&condition::of(host, when, &found.path, &facts).text("  its condition"));
        }
    }
    let mut fields = place(&found.path, line);
    fields["module"] = module.into();
    fields["name"] = resource.into();
    fields["type"] = (*typed.kind.name).into();
    fields["present"] = here.is_some().into();
    fields["when"] = condition_json(when);
    fields["attributes"] = Json::Object(attributes);
    fields["depends_on"] = json!(depends_on);
    fields["notify"] = json!(notify);
    Ok(Answer { text, fields: vec![("resource", fields)] })
}

/// A module of a host; says why when it has none of this name.
pub(super) fn assigned<'a>(host: &Host<'a>, module: &str) -> Result<Assigned<'a>, Failure> {
    let modules = &index(host.db, host.project).modules;
    let Some((name, file)) = modules.get_key_value(module) else {
        let message = format!("there is no module `{module}`");
        return Err(Failure::no_answer(message, suggest(module, modules.keys().map(|k| &**k))));
    };
    if !host.resolved.modules.contains(name) {
        let message = format!("module `{module}` is not assigned to `{}`", host.name);
        let help = format!("`vigoc explain {} --module {module}` says why", host.name);
        return Err(Failure::no_answer(message, Some(help)));
    }
    let Some(typed) = host.typed(*file) else {
        return Err(Failure::no_answer(format!("module `{module}` cannot be read"), None));
    };
    Ok(Assigned {
        name: name.clone(),
        path: file.path(host.db).clone(),
        typed,
        specialised: host.specialised(*file),
    })
}

impl<'a> Assigned<'a> {
    /// A resource as declared, and the facts of the instance of this name.
    pub(super) fn resource(
        &self,
        host: &Host<'a>,
        name: &str,
    ) -> Result<(&'a TypedResource, ClassFacts), Failure> {
        let instance = self.specialised.instances.iter().find(|i| *i.name == *name);
        let declared = instance.and_then(|i| self.typed.resources.get(i.number));
        if let Some(declared) = declared {
            let mut facts = host.facts(true);
            facts.item = item(declared, name, &facts);
            return Ok((declared, facts));
        }
        if self.specialised.templated.iter().any(|t| crate::specialise::edges::Target::new(name).may_mean(t))
        {
            let message =
                format!("whether `{}.{name}` exists depends on traits that were not given", self.name);
            return Err(Failure::no_answer(message, Some("give them with `--traits FILE`".into())));
        }
        let known: Vec<&str> = self.specialised.instances.iter().map(|i| &*i.name).collect();
        Err(unknown(&format!("resource in module `{}` named", self.name), name, host, known))
    }
}

/// The element of a `foreach` for which the resource has a name.
fn item(resource: &TypedResource, name: &str, facts: &ClassFacts) -> Option<Value> {
    let known = |expr: &Expr, facts: &ClassFacts| match ir::eval(expr, facts, &mut Budget::default()) {
        Ok(Outcome::Known(value)) => Some(value),
        _ => None,
    };
    let Some(Value::List(items)) = known(&resource.foreach.as_ref()?.expr, facts) else { return None };
    let NameForm::Template(template) = &resource.name else { return None };
    items.into_iter().find(|item| {
        let facts = ClassFacts { item: Some(item.clone()), ..facts.clone() };
        known(&template.expr, &facts).is_some_and(|v| v.as_str() == Some(name))
    })
}

/// A branch of a `match:`: its label and its attributes.
pub(in crate::commands) type Branch = (Name, Vec<TypedAttribute>);

/// The branch that the case of a resource chooses, when that is known.
pub(in crate::commands) fn chosen_branch<'a>(
    resource: &'a TypedResource,
    facts: &ClassFacts,
) -> Option<&'a Branch> {
    let text = match ir::eval(&resource.case.as_ref()?.expr, facts, &mut Budget::default()) {
        Ok(Outcome::Known(value)) => ir::render(&value).ok()?,
        _ => return None,
    };
    let is = |label: &str| resource.branches.iter().find(|(l, _)| &*l.text == label);
    is(&text).or_else(|| is("default"))
}

/// Where an attribute is written: in the branch that the case chose, or in the resource or the defaults.
fn attribute_place(resource: &TypedResource, name: &str, facts: &ClassFacts) -> Option<u32> {
    let chosen = chosen_branch(resource, facts).into_iter().flat_map(|(_, attributes)| attributes);
    let found = resource.attributes.iter().chain(chosen).rfind(|a| &*a.name.text == name)?;
    Some(found.name.span.start)
}
