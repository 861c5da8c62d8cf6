//! The defaults of modules, merged: the lowest layer of the variables of every class that has these modules.

use super::interface::{Declared, interface};
use super::layers::{Origin, Step, StepState};
use super::merge::apply;
use super::modules::Modules;
use super::vars::{VarValue, Variable};
use crate::db::Db;
use crate::specialise::typed::is_small;
use crate::types::Type;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The merged defaults of some modules. No positions: an edit that moves lines stops here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// By name, those without a value too.
    pub by_name: BTreeMap<Arc<str>, Arc<Variable>>,
    /// Two modules that give one variable types which no value has both of.
    pub conflicts: Vec<Conflict>,
    /// Variables, each with the modules whose default is not of the type that another module declares.
    pub unfit: Vec<(Arc<str>, Vec<Arc<str>>)>,
    /// Variables to which several modules give a default, in order.
    pub several: Vec<Arc<str>>,
    /// Parameters, each with its module.
    pub parameters: Vec<(Arc<str>, Declared)>,
}

/// Two modules that give a variable types which no value has both of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The variable.
    pub variable: Arc<str>,
    /// A module, and its type.
    pub first: (Arc<str>, Type),
    /// A later one.
    pub second: (Arc<str>, Type),
}

/// Merges the defaults of modules.
#[salsa::tracked(returns(ref))]
pub fn defaults<'db>(db: &'db dyn Db, modules: Modules<'db>) -> Defaults {
    let mut out = Defaults::default();
    let mut by_name: BTreeMap<Arc<str>, Variable> = BTreeMap::new();
    for (name, file) in modules.list(db) {
        let Some(interface) = interface(db, *file) else { continue };
        for declared in &interface.variables {
            let known = by_name.entry(declared.name.clone()).or_insert_with(|| Variable {
                ty: declared.ty.clone(),
                value: VarValue::Unset,
                declared: Some(name.clone()),
                steps: Vec::new(),
                small: true,
            });
            match known.ty.agreed(&declared.ty) {
                Some(ty) => known.ty = ty,
                None => out.conflicts.push(Conflict {
                    variable: declared.name.clone(),
                    first: (known.declared.clone().unwrap_or_default(), known.ty.clone()),
                    second: (name.clone(), declared.ty.clone()),
                }),
            }
            // a declared type says more than one inferred from a default
            if declared.parameter && declared.ty != Type::Any {
                known.declared = Some(name.clone());
            }
            if declared.broken {
                known.value = VarValue::Undecided;
            }
            if declared.parameter {
                out.parameters.push((name.clone(), declared.clone()));
            }
            if let Some(value) = &declared.default {
                apply(&mut known.value, value, StepState::Applied);
                known.steps.push(Step {
                    origin: Origin::Module(name.clone()),
                    file: file.path(db).clone(),
                    span: None,
                    value: value.clone(),
                    state: StepState::Applied,
                });
            }
        }
    }
    for (name, variable) in by_name.iter_mut().filter(|(_, v)| v.declared.is_some()) {
        if !out.conflicts.iter().any(|c| c.variable == *name) {
            let unfit = unfit(variable);
            if !unfit.is_empty() {
                // nothing follows from a value that was reported
                variable.value = VarValue::Undecided;
                out.unfit.push((name.clone(), unfit));
            }
        }
        if variable.steps.len() > 1 {
            out.several.push(name.clone());
        }
        variable.small = variable.value.is_small();
    }
    out.by_name = by_name.into_iter().map(|(name, variable)| (name, Arc::new(variable))).collect();
    out
}

/// Modules whose default the type that another module declares does not allow.
fn unfit(variable: &Variable) -> Vec<Arc<str>> {
    let several = variable.steps.iter().any(|s| variable.declared.as_ref() != s.origin.module());
    let unfit = variable.steps.iter().filter(|s| several && !variable.ty.admits(&s.value));
    unfit.filter_map(|s| s.origin.module().cloned()).collect()
}

impl VarValue {
    /// Whether text with it in needs no evaluation to be checked.
    pub fn is_small(&self) -> bool {
        match self {
            VarValue::Set(value) => is_small(value),
            VarValue::Undecided | VarValue::Unset => true,
        }
    }
}
