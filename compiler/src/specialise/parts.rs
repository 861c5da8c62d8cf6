//! A class with facts: each of its modules under the types and facts that the module looks at.
#![allow(missing_docs, reason = "salsa generates constructors and getters without docs")]

use super::instances::{FactsKey, ModuleFacts};
use super::typed::{Depth, TypesKey, are_few, needs};
use crate::db::{Db, Project, SourceFile};
use crate::expr::{VarType, VarTypes};
use crate::resolve::ResolvedClass;
use crate::resolve::class::{Class, resolved_class};
use crate::resolve::index::index;
use crate::resolve::interface::{Declared, Reads, interface, reads};
use crate::resolve::vars::{TraitFacts, VarValue, Variables, all_variables, class_vars};
use ir::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A module of a class under the facts that a check looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, salsa::SalsaValue)]
pub struct Part<'db> {
    /// Its name.
    pub name: Arc<str>,
    /// Its file.
    pub file: SourceFile,
    /// Types of its variables.
    pub types: TypesKey<'db>,
    /// What `depth` looks at.
    pub facts: FactsKey<'db>,
    /// How much of it is evaluated to check it: all, when a variable is large.
    pub depth: Depth,
    /// Variables it reads that are not decided yet.
    pub open: Vec<Arc<str>>,
}

/// The modules of a class, in list order. Classes that differ only in what a check does not look at have the same, and so
/// they are linked, and their modules' findings collected, once for all of them.
#[salsa::interned(debug)]
pub struct PartsKey<'db> {
    /// In list order.
    #[returns(ref)]
    pub parts: Vec<Part<'db>>,
}

/// Variables of a class by name; `None` is not decided yet. What is not set is not listed.
type Values = Vec<(Arc<str>, Option<Arc<Value>>)>;

/// The types of the variables that a module reads.
fn types(db: &dyn Db, project: Project, file: SourceFile, vars: &Variables, reads: &Reads) -> VarTypes {
    let mut types = VarTypes::new();
    for name in &reads.vars {
        match vars.by_name.get(name).filter(|v| v.value != VarValue::Unset) {
            Some(v) => drop(types.insert(name.clone(), VarType::Set(v.ty.clone()))),
            None => {
                // a parameter that nothing sets is reported at the entry; nothing follows from it
                if let Some(own) = parameter(db, file, name) {
                    types.insert(name.clone(), VarType::Set(own.ty.clone()));
                } else if let Some(ty) = all_variables(db, project).get(name) {
                    types.insert(name.clone(), VarType::Elsewhere(ty.clone()));
                }
            }
        }
    }
    // a misspelt name is compared with every known one; only then does a module depend on all of them
    if reads.vars.iter().any(|name| !types.contains_key(name)) {
        for (name, v) in &vars.by_name {
            types.entry(name.clone()).or_insert_with(|| VarType::Set(v.ty.clone()));
        }
    }
    types
}

/// The values of those of some variables that a module reads.
fn values<'a>(
    db: &dyn Db,
    file: SourceFile,
    vars: &Variables,
    names: impl Iterator<Item = &'a Arc<str>>,
) -> Values {
    let value = |name: &'a Arc<str>| match vars.by_name.get(name).map(|v| &v.value) {
        Some(VarValue::Set(value)) => Some((name.clone(), Some(value.clone()))),
        Some(VarValue::Undecided) => Some((name.clone(), None)),
        Some(VarValue::Unset) | None => parameter(db, file, name).map(|_| (name.clone(), None)),
    };
    names.filter_map(value).collect()
}

/// A variable that a module declares under `params:`.
fn parameter<'db>(db: &'db dyn Db, file: SourceFile, name: &Arc<str>) -> Option<&'db Declared> {
    interface(db, file)?.variables.iter().find(|d| d.name == *name).filter(|d| d.parameter)
}

/// The facts under which all of a module is specialised.
pub fn facts<'db>(
    db: &'db dyn Db,
    project: Project,
    class: Class<'db>,
    traits: TraitFacts<'db>,
    (file, types): (SourceFile, TypesKey<'db>),
) -> FactsKey<'db> {
    let vars = class_vars(db, project, class, traits);
    let reads = reads(db, project, file);
    let footprint = &needs(db, project, file, types).footprint;
    let facts = ModuleFacts {
        vars: values(db, file, vars, reads.vars.iter()),
        traits: given(db, traits, footprint),
        ..of_class(resolved_class(db, project, class), reads.environment, reads.roles, reads.modules)
    };
    FactsKey::new(db, facts)
}

fn given(db: &dyn Db, traits: TraitFacts<'_>, looked_at: &BTreeSet<Arc<str>>) -> Vec<(Arc<str>, Value)> {
    traits.values(db).iter().filter(|(path, _)| looked_at.contains(path)).cloned().collect()
}

fn of_class(resolved: &ResolvedClass, environment: bool, roles: bool, modules: bool) -> ModuleFacts {
    ModuleFacts {
        environment: resolved.environment.clone().filter(|_| environment),
        roles: if roles { resolved.roles.clone() } else { Vec::new() },
        modules: if modules { resolved.modules.clone() } else { Vec::new() },
        ..ModuleFacts::default()
    }
}

/// The keys under which a module of a class is typed and specialised.
pub fn keys<'db>(
    db: &'db dyn Db,
    project: Project,
    class: Class<'db>,
    traits: TraitFacts<'db>,
    file: SourceFile,
) -> (TypesKey<'db>, FactsKey<'db>) {
    let vars = class_vars(db, project, class, traits);
    let types = TypesKey::new(db, types(db, project, file, vars, reads(db, project, file)));
    (types, facts(db, project, class, traits, (file, types)))
}

/// The modules of a class.
#[salsa::tracked(returns(copy))]
pub fn parts<'db>(
    db: &'db dyn Db,
    project: Project,
    class: Class<'db>,
    traits: TraitFacts<'db>,
) -> PartsKey<'db> {
    let resolved = resolved_class(db, project, class);
    let vars = class_vars(db, project, class, traits);
    let index = index(db, project);
    let few_roles = are_few(&resolved.roles);
    let mut out = Vec::with_capacity(resolved.modules.len());
    for name in &resolved.modules {
        let Some(file) = index.modules.get(name).copied() else { continue };
        let reads = reads(db, project, file);
        let types = TypesKey::new(db, types(db, project, file, vars, reads));
        let needs = needs(db, project, file, types);
        let small = |name: &Arc<str>| vars.by_name.get(name).is_none_or(|v| v.small);
        let depth = if few_roles && needs.small.iter().all(small) { Depth::Outline } else { Depth::Full };
        let all = values(db, file, vars, reads.vars.iter());
        let open = all.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name.clone()).collect();
        let facts = match depth {
            Depth::Outline => ModuleFacts {
                vars: all.into_iter().filter(|(name, _)| needs.outline.vars.contains(name)).collect(),
                traits: given(db, traits, &needs.outline.traits),
                ..of_class(resolved, needs.outline.environment, needs.outline.roles, needs.outline.modules)
            },
            Depth::Full => ModuleFacts {
                vars: all,
                traits: given(db, traits, &needs.footprint),
                ..of_class(resolved, reads.environment, reads.roles, reads.modules)
            },
        };
        let facts = FactsKey::new(db, facts);
        out.push(Part { name: name.clone(), file, types, facts, depth, open });
    }
    PartsKey::new(db, out)
}
