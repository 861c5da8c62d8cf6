//! What values variables have: for the chosen envoy with the layers they came through, or else for all classes.

use super::{Ide, Source};
use compiler::commands::ask::value_text;
use compiler::facts::shared_traits;
use compiler::resolve::TraitFacts;
use compiler::resolve::class::{Class, classes, resolved_class};
use compiler::resolve::interface::interface;
use compiler::resolve::layers::StepState;
use compiler::resolve::vars::{VarValue, Variable, Variables, all_variables, class_vars};
use compiler::types::Type;
use ir::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Longer values are cut where they are shown.
pub const SHOWN: usize = 60;

/// A layer of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What it says.
    pub value: String,
    /// What kind of place it is.
    pub origin: String,
    /// Its file.
    pub file: Arc<str>,
    /// Whether it counts, or a word on why not.
    pub state: &'static str,
}

/// The traits of the chosen envoy, as far as the fleet file has them.
pub fn traits(ide: &Ide<'_>) -> Option<Arc<Value>> {
    let name = ide.envoy?;
    let at = ide.fleet.binary_search_by(|m| m.hostname.as_str().cmp(name)).ok()?;
    Some(ide.fleet.get(at)?.traits.clone())
}

/// The variables of the chosen envoy.
pub fn of_envoy<'a>(ide: &Ide<'a>) -> Option<&'a Variables> {
    let (db, project) = ide.queries();
    let class = ide.policy.class(&ide.chosen()?)?;
    let traits = traits(ide).map(|t| shared_traits(&t)).unwrap_or_default();
    Some(class_vars(db, project, class, TraitFacts::new(db, traits)))
}

/// A value as it is shown.
pub fn shown(value: &Value) -> String {
    let text = value_text(value);
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// The value of a variable as it is shown; `None` when it is not known or not set.
pub fn value_of(variable: &Variable) -> Option<String> {
    match &variable.value {
        VarValue::Set(value) => Some(shown(value)),
        VarValue::Undecided | VarValue::Unset => None,
    }
}

/// Each layer of a variable, the weakest first.
pub fn layers(variable: &Variable) -> Vec<Layer> {
    let layer = |step: &compiler::resolve::layers::Step| Layer {
        value: if *step.value == Value::Null { "un-set".to_owned() } else { shown(&step.value) },
        origin: step.origin.to_string(),
        file: step.file.clone(),
        state: match step.state {
            StepState::Applied => "",
            StepState::Skipped => "its condition is false",
            StepState::Undecided => "its condition is not known",
        },
    };
    variable.steps.iter().map(layer).collect()
}

/// The types of all variables of the policy, as far as the last check knew them.
pub fn types<'a>(ide: &Ide<'a>) -> &'a BTreeMap<Arc<str>, Type> {
    ide.variables.unwrap_or_else(|| {
        let (db, project) = ide.queries();
        all_variables(db, project)
    })
}

/// The type of a variable, which may be newer than the last check.
pub fn any_type<'a>(ide: &Ide<'a>, name: &str) -> Option<&'a Type> {
    let (db, project) = ide.queries();
    types(ide).get(name).or_else(|| all_variables(db, project).get(name))
}

/// The type of a variable; one that the file itself declares has the type that it has there now.
pub fn type_of<'a>(ide: &Ide<'a>, source: &Source, name: &str) -> Option<&'a Type> {
    let (db, _) = ide.queries();
    let own = interface(db, source.file).and_then(|i| i.variables.iter().find(|v| *v.name == *name));
    own.map(|v| &v.ty).or_else(|| types(ide).get(name))
}

/// Every variable with its type: those that the file itself declares as they are now, the others as the last check knew
/// them.
pub fn visible<'a>(ide: &Ide<'a>, source: &Source) -> impl Iterator<Item = (&'a Arc<str>, &'a Type)> {
    let (db, _) = ide.queries();
    let own = interface(db, source.file).map(|i| i.variables.as_slice()).unwrap_or_default();
    let names: BTreeSet<&str> = own.iter().map(|v| &*v.name).collect();
    let others = types(ide).iter().filter(move |(name, _)| !names.contains(&***name));
    own.iter().map(|v| (&v.name, &v.ty)).chain(others)
}

/// The classes of the policy.
pub fn all_classes<'a>(ide: &Ide<'a>) -> Vec<Class<'a>> {
    let (db, project) = ide.queries();
    classes(db, project)
}

/// The values of a variable, each with the classes that have it, the most frequent first; a class that has no value has
/// the text `not set`.
pub fn by_class(ide: &Ide<'_>, name: &str) -> Vec<(String, Vec<Arc<str>>)> {
    let (db, project) = ide.queries();
    let none = TraitFacts::new(db, Vec::new());
    let mut out: BTreeMap<String, Vec<Arc<str>>> = BTreeMap::new();
    for class in all_classes(ide) {
        let Some(variable) = class_vars(db, project, class, none).by_name.get(name) else { continue };
        let value = match &variable.value {
            VarValue::Set(value) => shown(value),
            VarValue::Undecided => "depends on traits".to_owned(),
            VarValue::Unset => "not set".to_owned(),
        };
        out.entry(value).or_default().push(resolved_class(db, project, class).label.clone());
    }
    let mut out: Vec<_> = out.into_iter().collect();
    out.sort_by_key(|(_, classes)| std::cmp::Reverse(classes.len()));
    out
}

/// A part of a type: the field of a record, the element of a list or map.
pub fn part<'t>(ty: &'t Type, step: &str) -> Option<&'t Type> {
    match ty {
        Type::Record(fields) => fields.get(step),
        Type::Map(element) => Some(element),
        _ => None,
    }
}

/// The type of what a list is made of.
pub fn element(ty: &Type) -> Option<&Type> {
    match ty {
        Type::List(element) => Some(element),
        _ => None,
    }
}
