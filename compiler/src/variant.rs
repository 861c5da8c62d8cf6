//! Variants: what every envoy of one class and one footprint gets.

use crate::checks::class_findings;
use crate::concern::file_errors;
use crate::db::{Project, RootDb, SourceFile};
use crate::diagnostic::{Diagnostic, Severity};
use crate::resolve::TraitFacts;
use crate::resolve::class::{Class, entries, resolved_class};
use crate::specialise::instances::Encoded;
use crate::specialise::{assembled, linked};
use ir::{Hash, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Names a class from outside: stable as long as the files are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassKey {
    /// The file of the node entry.
    pub file: Arc<str>,
    /// Its number there.
    pub entry: usize,
    /// The environment.
    pub environment: Option<Arc<str>>,
}

/// What every envoy of one class and one footprint gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Its class.
    pub class: ClassKey,
    /// Shared traits that the class looks at, dotted and sorted.
    pub footprint: Vec<String>,
    /// The environment.
    pub environment: Option<String>,
    /// The closure of the roles.
    pub roles: Vec<String>,
    /// Sorted by name.
    pub modules: Vec<VariantModule>,
    /// Indices into `modules`.
    pub run_order: Vec<u32>,
    /// Hash of the merged variables.
    pub vars_hash: Hash,
    /// Root over variables and modules.
    pub merkle_root: Hash,
    /// Paths of the secrets that the modules read, sorted.
    pub secrets: Vec<String>,
    /// What an agent has to know beyond the IR format.
    pub required_features: Vec<String>,
}

/// A module of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantModule {
    /// Its name.
    pub name: Arc<str>,
    /// Of `bytes`.
    pub hash: Hash,
    /// What is shipped.
    pub bytes: Arc<[u8]>,
}

/// Why there is no variant.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VariantError {
    /// The policy changed and the entry is gone.
    #[error("the policy has no such class any more")]
    NoSuchClass,
    /// The policy does not compile for this class.
    #[error("the policy does not compile for {class}: {} errors, the first is: {}", found.len(), found.first().map(|d| d.message.as_str()).unwrap_or_default())]
    Findings {
        /// Patterns and environment.
        class: Arc<str>,
        /// The errors.
        found: Vec<Diagnostic>,
    },
    /// Variables, a `foreach` or a `case` need traits that were not given.
    #[error("{what} ({file}) depends on traits that were not given: {}", traits.join(", "))]
    NeedsTraits {
        /// What cannot be decided.
        what: String,
        /// Where.
        file: Arc<str>,
        /// Which traits would decide it.
        traits: Vec<String>,
    },
}

/// The class behind a key, with variables laid over all others.
pub(crate) fn class_of_key<'db>(
    db: &'db RootDb,
    files: &BTreeMap<Arc<str>, SourceFile>,
    key: &ClassKey,
    laid_over: Vec<(Arc<str>, Value)>,
) -> Option<Class<'db>> {
    let file = *files.get(&key.file)?;
    entries(db, file).get(key.entry)?;
    Some(Class::new(db, file, key.entry, key.environment.clone(), laid_over))
}

/// Whether a finding is among those of a class, which also say in which class they are.
fn known(found: &[Diagnostic], one: &Diagnostic) -> bool {
    found.iter().any(|d| (d.code, &d.place, &d.message) == (one.code, &one.place, &one.message))
}

/// Makes a variant; `traits` are sorted by path.
pub(crate) fn variant_of_class(
    db: &RootDb,
    project: Project,
    files: &BTreeMap<Arc<str>, SourceFile>,
    key: &ClassKey,
    traits: Vec<(Arc<str>, Value)>,
) -> Result<Arc<Variant>, VariantError> {
    let class = class_of_key(db, files, key, Vec::new()).ok_or(VariantError::NoSuchClass)?;
    let facts = TraitFacts::new(db, traits);
    let resolved = resolved_class(db, project, class);
    let linked = linked(db, project, class, facts);
    let errors = |found: &[Diagnostic]| -> Vec<Diagnostic> {
        found.iter().filter(|d| d.severity == Severity::Error).cloned().collect()
    };
    let assembled = assembled(db, project, class, facts);
    let mut found = errors(class_findings(db, project, class, facts));
    found.extend(errors(file_errors(db, project, class)));
    found.extend(assembled.found.iter().filter(|d| !known(&found, d)).cloned().collect::<Vec<_>>());
    if !found.is_empty() {
        return Err(VariantError::Findings { class: resolved.label.clone(), found });
    }
    let footprint: Vec<String> = linked.footprint.iter().map(|t| t.to_string()).collect();
    if let Some((place, what)) = linked.undecided.first() {
        let given: BTreeSet<&str> = facts.values(db).iter().map(|(p, _)| &**p).collect();
        let traits = footprint.iter().filter(|t| !given.contains(t.as_str())).cloned().collect();
        return Err(VariantError::NeedsTraits { what: what.clone(), file: place.file.clone(), traits });
    }
    let module = |(name, e): &(Arc<str>, Encoded)| -> VariantModule {
        VariantModule { name: name.clone(), hash: e.hash, bytes: e.bytes.clone() }
    };
    let mut modules: Vec<VariantModule> = assembled.modules.iter().map(module).collect();
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    let place = |name: &Arc<str>| modules.binary_search_by(|m| m.name.cmp(name)).ok().map(|n| n as u32);
    let run_order = linked.modules.iter().filter_map(|m| place(&m.name)).collect();
    let secrets: BTreeSet<&Arc<str>> = assembled.modules.iter().flat_map(|(_, e)| &*e.secrets).collect();
    let secrets = secrets.into_iter().map(|s| s.to_string()).collect();
    Ok(Arc::new(Variant {
        class: key.clone(),
        footprint,
        environment: resolved.environment.as_ref().map(|e| e.to_string()),
        roles: resolved.roles.iter().map(|r| r.to_string()).collect(),
        modules,
        run_order,
        vars_hash: assembled.vars_hash,
        merkle_root: assembled.merkle_root,
        secrets,
        required_features: Vec::new(),
    }))
}
