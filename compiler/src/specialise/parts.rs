//! A class with facts: each of its modules under the types and facts that the module looks at.
#![allow(missing_docs, reason = "salsa generates constructors and getters without docs")]

use super::instances::{FactsKey, ModuleFacts};
use super::typed::{Depth, Reads as Wants, TypesKey, are_few, needs};
use crate::db::{Db, Project, SourceFile};
use crate::expr::{VarType, VarTypes};
use crate::resolve::ResolvedClass;
use crate::resolve::class::{Class, resolved_class};
use crate::resolve::interface::{Declared, Reads, interface, reads};
use crate::resolve::modules::{Modules, assigned};
use crate::resolve::vars::{TraitFacts, VarValue, Variables, all_variables, class_vars};
use ir::Value;
use std::borrow::Cow;
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

/// A module under the types of its variables.
#[derive(Clone, Debug, PartialEq, Eq, Hash, salsa::SalsaValue)]
pub struct TypedPart<'db> {
    /// Its name.
    pub name: Arc<str>,
    /// Its file.
    pub file: SourceFile,
    /// Types of the variables that it reads.
    pub types: TypesKey<'db>,
}

/// The modules of a list under the types that the variables have for some classes, and what they look at together.
#[salsa::interned(debug)]
pub struct TypedParts<'db> {
    /// In list order.
    #[returns(ref)]
    pub modules: Vec<TypedPart<'db>>,
    /// What a check of them looks at, as long as the variables are small.
    #[returns(ref)]
    pub outline: Wants,
    /// Everything they look at.
    #[returns(ref)]
    pub full: Wants,
    /// Variables whose values make no difference to a check, as long as they are small.
    #[returns(ref)]
    pub small: BTreeSet<Arc<str>>,
}

/// What a check sees of a class: all that its modules look at, and nothing else of it.
#[salsa::interned(debug)]
pub struct ClassView<'db> {
    /// Its modules.
    #[returns(copy)]
    pub modules: TypedParts<'db>,
    /// What they look at; variables that are not decided yet are among it in any case.
    #[returns(ref)]
    pub facts: ModuleFacts,
    /// Variables they read that nothing sets.
    #[returns(ref)]
    pub unset: Vec<Arc<str>>,
    /// Variables that are too large for a check to leave their values out.
    #[returns(ref)]
    pub large: Vec<Arc<str>>,
    /// Whether it has few roles.
    #[returns(copy)]
    pub few_roles: bool,
}

/// The types of all variables of a class. What is not set is of no type there.
fn class_types(vars: &Variables) -> VarTypes {
    let ty = |v: &crate::resolve::Variable| match v.value {
        VarValue::Unset => VarType::Elsewhere(v.ty.clone()),
        VarValue::Set(_) | VarValue::Undecided => VarType::Set(v.ty.clone()),
    };
    vars.by_name.iter().map(|(name, v)| (name.clone(), ty(v))).collect()
}

/// The types of the variables that a module reads, out of those of a class.
fn types(db: &dyn Db, project: Project, file: SourceFile, all: &VarTypes, reads: &Reads) -> VarTypes {
    let mut types = VarTypes::new();
    for name in &reads.vars {
        match all.get(name) {
            Some(VarType::Set(ty)) => drop(types.insert(name.clone(), VarType::Set(ty.clone()))),
            _ => {
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
        for (name, ty) in all {
            let (VarType::Set(ty) | VarType::Elsewhere(ty)) = ty;
            types.entry(name.clone()).or_insert_with(|| VarType::Set(ty.clone()));
        }
    }
    types
}

/// A variable that a module declares under `params:`.
fn parameter<'db>(db: &'db dyn Db, file: SourceFile, name: &Arc<str>) -> Option<&'db Declared> {
    interface(db, file)?.variables.iter().find(|d| d.name == *name).filter(|d| d.parameter)
}

/// Types the modules of a list.
#[salsa::tracked(returns(copy))]
fn typed_parts<'db>(
    db: &'db dyn Db,
    project: Project,
    modules: Modules<'db>,
    all: TypesKey<'db>,
) -> TypedParts<'db> {
    let mut out = Vec::new();
    let (mut outline, mut full, mut small) = (Wants::default(), Wants::default(), BTreeSet::new());
    for (name, file) in modules.list(db) {
        let reads = reads(db, project, *file);
        let types = TypesKey::new(db, types(db, project, *file, all.types(db), reads));
        let needs = needs(db, project, *file, types);
        outline.merge(&needs.outline);
        full.vars.extend(reads.vars.iter().cloned());
        full.traits.extend(needs.footprint.iter().cloned());
        full.environment |= reads.environment;
        full.roles |= reads.roles;
        full.modules |= reads.modules;
        small.extend(needs.small.iter().cloned());
        out.push(TypedPart { name: name.clone(), file: *file, types });
    }
    TypedParts::new(db, out, outline, full, small)
}

/// The modules of a class under the types of its variables.
fn typed_parts_of<'db>(
    db: &'db dyn Db,
    project: Project,
    class: Class<'db>,
    vars: &Variables,
) -> TypedParts<'db> {
    typed_parts(db, project, assigned(db, project, class), TypesKey::new(db, class_types(vars)))
}

/// What a check sees of a class.
#[salsa::tracked(returns(copy))]
fn class_view<'db>(
    db: &'db dyn Db,
    project: Project,
    class: Class<'db>,
    traits: TraitFacts<'db>,
) -> ClassView<'db> {
    let resolved = resolved_class(db, project, class);
    let vars = class_vars(db, project, class, traits);
    let modules = typed_parts_of(db, project, class, vars);
    let is_large = |name: &&Arc<str>| vars.by_name.get(*name).is_some_and(|v| !v.small);
    let large: Vec<Arc<str>> = modules.small(db).iter().filter(is_large).cloned().collect();
    let few_roles = are_few(&resolved.roles);
    let full = modules.full(db);
    let wants = if few_roles && large.is_empty() { modules.outline(db) } else { full };
    let (mut values, mut unset) = (Vec::new(), Vec::new());
    for name in &full.vars {
        match vars.by_name.get(name).map(|v| &v.value) {
            Some(VarValue::Set(value)) if wants.vars.contains(name) => {
                values.push((name.clone(), Some(value.clone())));
            }
            Some(VarValue::Set(_)) => {}
            Some(VarValue::Undecided) => values.push((name.clone(), None)),
            Some(VarValue::Unset) | None => unset.push(name.clone()),
        }
    }
    let facts = ModuleFacts {
        vars: values,
        traits: given(db, traits, &wants.traits),
        ..of_class(resolved, wants.environment, wants.roles, wants.modules)
    };
    ClassView::new(db, modules, facts, unset, large, few_roles)
}

/// The modules of a class under the facts that a check looks at.
pub fn parts<'db>(
    db: &'db dyn Db,
    project: Project,
    class: Class<'db>,
    traits: TraitFacts<'db>,
) -> PartsKey<'db> {
    parts_of(db, project, class_view(db, project, class, traits))
}

#[salsa::tracked(returns(copy))]
fn parts_of<'db>(db: &'db dyn Db, project: Project, view: ClassView<'db>) -> PartsKey<'db> {
    let (all, unset, large) = (view.facts(db), view.unset(db), view.large(db));
    let modules = view.modules(db).modules(db);
    let mut out = Vec::with_capacity(modules.len());
    for TypedPart { name, file, types } in modules {
        let (reads, needs) = (reads(db, project, *file), needs(db, project, *file, *types));
        let checked = view.few_roles(db) && !large.iter().any(|name| needs.small.contains(name));
        let (depth, wants) = match checked {
            true => (Depth::Outline, Cow::Borrowed(&needs.outline)),
            false => (Depth::Full, Cow::Owned(everything(reads, &needs.footprint))),
        };
        let mut facts = all.only(&wants);
        let mut open: Vec<Arc<str>> = Vec::new();
        for name in &reads.vars {
            let undecided = match all.vars.binary_search_by(|(known, _)| known.cmp(name)) {
                Ok(at) => all.vars.get(at).is_some_and(|(_, value)| value.is_none()),
                Err(_) => {
                    let waits = unset.binary_search(name).is_ok() && parameter(db, *file, name).is_some();
                    if waits && wants.vars.contains(name) {
                        facts.vars.push((name.clone(), None));
                    }
                    waits
                }
            };
            if undecided {
                open.push(name.clone());
            }
        }
        facts.vars.sort_by(|a, b| a.0.cmp(&b.0));
        let facts = FactsKey::new(db, facts);
        out.push(Part { name: name.clone(), file: *file, types: *types, facts, depth, open });
    }
    PartsKey::new(db, out)
}

/// What a module looks at.
fn everything(reads: &Reads, footprint: &BTreeSet<Arc<str>>) -> Wants {
    Wants {
        vars: reads.vars.clone(),
        traits: footprint.clone(),
        environment: reads.environment,
        roles: reads.roles,
        modules: reads.modules,
    }
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
    let value = |name: &Arc<str>| match vars.by_name.get(name).map(|v| &v.value) {
        Some(VarValue::Set(value)) => Some((name.clone(), Some(value.clone()))),
        Some(VarValue::Undecided) => Some((name.clone(), None)),
        Some(VarValue::Unset) | None => parameter(db, file, name).map(|_| (name.clone(), None)),
    };
    let facts = ModuleFacts {
        vars: reads.vars.iter().filter_map(value).collect(),
        traits: given(db, traits, &needs(db, project, file, types).footprint),
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
    let types = TypesKey::new(db, types(db, project, file, &class_types(vars), reads(db, project, file)));
    (types, facts(db, project, class, traits, (file, types)))
}
