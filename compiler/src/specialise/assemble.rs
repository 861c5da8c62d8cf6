//! The bytes of a linked class.

use super::instances::{Encoded, ExtraEdges, encode, encoded, specialised};
use super::link::linked;
use super::parts::{facts, parts};
use crate::db::{Db, Project};
use crate::diagnostic::codes::LIMIT_EXCEEDED;
use crate::diagnostic::{Diagnostic, Severity};
use crate::resolve::class::{Class, resolved_class};
use crate::resolve::interface::interface;
use crate::resolve::vars::{TraitFacts, class_vars};
use ir::{Hash, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The bytes of a linked class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembled {
    /// Modules of the variant, in run order.
    pub modules: Vec<(Arc<str>, Encoded)>,
    /// Hash of the merged variables.
    pub vars_hash: Hash,
    /// Root over variables and modules.
    pub merkle_root: Hash,
    /// Errors of evaluating all of it, and limits that are exceeded.
    pub found: Vec<Diagnostic>,
}

/// Encodes and hashes a linked class.
#[salsa::tracked(returns(ref))]
pub fn assembled<'db>(
    db: &'db dyn Db,
    project: Project,
    class: Class<'db>,
    traits: TraitFacts<'db>,
) -> Assembled {
    let linked = linked(db, project, class, traits);
    let parts = parts(db, project, class, traits).parts(db);
    let mut out = Assembled::default();
    for module in &linked.modules {
        let Some(part) = parts.get(module.part) else { continue };
        let (file, types) = (part.file, part.types);
        let facts = facts(db, project, class, traits, (file, types));
        let bytes = if module.extra == ExtraEdges::default() {
            let alone = encoded(db, project, file, types, facts);
            out.found.extend(alone.errors.iter().cloned());
            alone.bytes.clone()
        } else {
            let spec = specialised(db, project, file, types, facts);
            out.found.extend(spec.found.iter().filter(|d| d.severity == Severity::Error).cloned());
            let depends_on = interface(db, file).map(|i| i.depends_on.as_slice()).unwrap_or_default();
            encode(spec, &module.name, depends_on, &module.extra, file.path(db))
        };
        match bytes {
            Ok(bytes) => out.modules.push((module.name.clone(), bytes)),
            Err(finding) => out.found.push(*finding),
        }
    }
    match vars_hash(db, project, class, traits) {
        Ok(hash) => out.vars_hash = hash,
        Err(finding) => out.found.push(*finding),
    }
    let mut rows: Vec<(&str, Hash)> = out.modules.iter().map(|(name, e)| (&**name, e.hash)).collect();
    rows.sort_unstable();
    out.merkle_root = ir::merkle::bundle_root(out.vars_hash, rows);
    out
}

/// The hash of the merged variables; too many of them are a finding at the entry.
pub fn vars_hash<'db>(
    db: &'db dyn Db,
    project: Project,
    class: Class<'db>,
    traits: TraitFacts<'db>,
) -> Result<Hash, Box<Diagnostic>> {
    let known: BTreeMap<Arc<str>, Value> =
        class_vars(db, project, class, traits).known().map(|(n, v)| (n.clone(), v.clone())).collect();
    ir::wire::hash_value(&Value::Map(known)).map_err(|e| {
        let place = resolved_class(db, project, class).place.clone();
        let message = format!("the variables are too large: {e}");
        Box::new(Diagnostic::new(&LIMIT_EXCEEDED, place, message).label("of this entry"))
    })
}
