//! The modules of a class as a list of its own: classes with the same roles have the same, and what depends on nothing else
//! is computed, and looked at after an edit, once for all of them.
#![allow(missing_docs, reason = "salsa generates constructors and getters without docs")]

use super::class::{Class, resolved_class};
use super::index::index;
use super::interface::interface;
use crate::db::{Db, Project, SourceFile};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Modules in the order of a class's list; only ones that exist.
#[salsa::interned(debug)]
pub struct Modules<'db> {
    /// Each with its file.
    #[returns(ref)]
    pub list: Vec<(Arc<str>, SourceFile)>,
}

/// The list of these modules.
pub fn modules<'db>(db: &'db dyn Db, project: Project, names: &[Arc<str>]) -> Modules<'db> {
    let index = index(db, project);
    let file = |name: &Arc<str>| Some((name.clone(), *index.modules.get(name)?));
    Modules::new(db, names.iter().filter_map(file).collect::<Vec<_>>())
}

/// The modules of a class.
#[salsa::tracked(returns(copy))]
pub fn assigned<'db>(db: &'db dyn Db, project: Project, class: Class<'db>) -> Modules<'db> {
    modules(db, project, &resolved_class(db, project, class).modules)
}

/// A module that needs one which is not in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The one that needs it.
    pub module: Arc<str>,
    /// Its file.
    pub file: SourceFile,
    /// The number of the name under its `depends_on:`.
    pub number: usize,
    /// The one that it needs.
    pub needed: Arc<str>,
}

/// What the modules of a list need and the list does not have.
#[salsa::tracked(returns(ref))]
pub fn missing<'db>(db: &'db dyn Db, modules: Modules<'db>) -> Vec<Missing> {
    let list = modules.list(db);
    let there: BTreeSet<&Arc<str>> = list.iter().map(|(name, _)| name).collect();
    let mut out = Vec::new();
    for (module, file) in list {
        let needed = interface(db, *file).map(|i| i.depends_on.as_slice()).unwrap_or_default();
        for (number, needed) in needed.iter().enumerate().filter(|(_, needed)| !there.contains(needed)) {
            out.push(Missing { module: module.clone(), file: *file, number, needed: needed.clone() });
        }
    }
    out
}
