//! A module specialised for one set of facts: its groups evaluated and put together in run order.
#![allow(missing_docs, reason = "salsa generates constructors and getters without docs")]

use super::evaluate::{Gate, Spent, evaluated, gate};
use super::shape::{NamesKey, Shape, shape};
use super::typed::{Depth, Reads, TypesKey, typed};
use crate::db::{Db, Project, SourceFile};
use crate::diagnostic::codes::LIMIT_EXCEEDED;
use crate::diagnostic::{Diagnostic, Place, Severity, Sink};
use crate::resolve::interface::interface;
use grammar::Span;
use ir::wire::{ModuleEncoder, ResourceRef, WireError};
use ir::{Expr, Target, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The facts that some expressions look at, and no others: whatever agrees on them shares the result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ModuleFacts {
    /// Variables; `None` is not decided yet. What is not set is not listed. Sorted by name.
    pub vars: Vec<(Arc<str>, Option<Arc<Value>>)>,
    /// Shared traits, as far as known. Sorted by path.
    pub traits: Vec<(Arc<str>, Value)>,
    /// The environment.
    pub environment: Option<Arc<str>>,
    /// The roles.
    pub roles: Vec<Arc<str>>,
    /// The modules.
    pub modules: Vec<Arc<str>>,
}

impl ModuleFacts {
    /// What `reads` looks at. Takes time for what is looked at, not for what is known: a module may have as many groups
    /// as it reads variables.
    pub(super) fn only(&self, reads: &Reads) -> ModuleFacts {
        ModuleFacts {
            vars: among(&self.vars, &reads.vars),
            traits: among(&self.traits, &reads.traits),
            environment: self.environment.clone().filter(|_| reads.environment),
            roles: if reads.roles { self.roles.clone() } else { Vec::new() },
            modules: if reads.modules { self.modules.clone() } else { Vec::new() },
        }
    }
}

/// Those of some rows, sorted by name, that have one of these names.
fn among<T: Clone>(rows: &[(Arc<str>, T)], names: &BTreeSet<Arc<str>>) -> Vec<(Arc<str>, T)> {
    let row = |name| rows.get(rows.binary_search_by(|(known, _)| known.cmp(name)).ok()?).cloned();
    names.iter().filter_map(row).collect()
}

/// Interned [`ModuleFacts`].
#[salsa::interned(debug)]
pub struct FactsKey<'db> {
    /// The facts.
    #[returns(ref)]
    pub facts: ModuleFacts,
}

/// A specialised module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Specialised {
    /// Its own condition is false: it is absent from the variant.
    pub gated: bool,
    /// What is left of its own condition, for every resource.
    pub gate: Option<Expr>,
    /// All resources, in run order, those with a false condition among them.
    pub instances: Vec<Arc<Instance>>,
    /// Edges between them.
    pub shape: Arc<Shape>,
    /// Names of resources that may exist under facts that are not known yet, as patterns.
    pub templated: Vec<Arc<str>>,
    /// Names of instances of a `foreach` whose list is known, as patterns.
    pub listed: Vec<Arc<str>>,
    /// What could not be decided without more traits: for each the place and what it is.
    pub undecided: Vec<(Place, String)>,
    /// Findings.
    pub found: Vec<Diagnostic>,
}

/// A module that no other module adds edges to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alone {
    /// Its bytes, or the limit of the wire form that it exceeds.
    pub bytes: Result<Encoded, Box<Diagnostic>>,
    /// Errors of evaluating it.
    pub errors: Vec<Diagnostic>,
}

/// The bytes of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Their hash.
    pub hash: ir::Hash,
    /// What is shipped.
    pub bytes: Arc<[u8]>,
    /// Paths of the secrets in it.
    pub secrets: Arc<BTreeSet<Arc<str>>>,
}

/// One resource, without its edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub kind: Arc<str>,
    /// The number of the resource it comes from.
    pub number: usize,
    /// Its condition is false.
    pub dropped: bool,
    /// What is left of its own condition.
    pub when: Option<Expr>,
    /// What was written, evaluated; sorted by name.
    pub attributes: Vec<(Arc<str>, Expr)>,
    /// Defaults of the type for what was not written.
    pub defaults: Vec<(Arc<str>, Expr)>,
    /// Whether one envoy may have only one of this type per key.
    pub unique: bool,
    /// Value of the key attribute, when known.
    pub key: Option<Arc<str>>,
    /// Its condition, as written, asks `changed`.
    pub tied: bool,
    /// What is left of its condition asks `changed`.
    pub waits: bool,
}

impl Specialised {
    /// The condition of an instance together with the module's.
    pub fn when<'a>(&'a self, instance: &'a Instance) -> Option<Cow<'a, Expr>> {
        match (&self.gate, &instance.when) {
            (Some(gate), Some(when)) => {
                Some(Cow::Owned(Expr::And(Box::new(gate.clone()), Box::new(when.clone()))))
            }
            (Some(one), None) | (None, Some(one)) => Some(Cow::Borrowed(one)),
            (None, None) => None,
        }
    }

    /// The bytes of the module; `extra` are edges that other modules add, by instance.
    pub fn encode(
        &self,
        name: &str,
        depends_on: &[Arc<str>],
        extra: &ExtraEdges,
    ) -> Result<Vec<u8>, WireError> {
        let mut shipped = 0..;
        let number = |i: &Arc<Instance>| if i.dropped { None } else { shipped.next() };
        // an edge to what is dropped is dropped too
        let numbers: Vec<Option<u32>> = self.instances.iter().map(number).collect();
        let targets = |local: Option<&Vec<usize>>, others: Option<&FarEnds>| -> Vec<Target> {
            let local = local.into_iter().flatten().filter_map(|at| *numbers.get(*at)?).map(Target::Local);
            let other =
                |(m, r): &(Arc<str>, Arc<str>)| Target::Other { module: m.clone(), resource: r.clone() };
            local.chain(others.into_iter().flatten().map(other)).collect()
        };
        let mut out = ModuleEncoder::default();
        for (at, i) in self.instances.iter().enumerate().filter(|(_, i)| !i.dropped) {
            let mut attributes: Vec<(&str, &Expr)> =
                i.attributes.iter().chain(&i.defaults).map(|(name, e)| (&**name, e)).collect();
            attributes.sort_by_key(|(name, _)| *name);
            out.resource(&ResourceRef {
                name: &i.name,
                kind: &i.kind,
                when: self.when(i).as_deref(),
                attributes: &attributes,
                depends_on: &targets(self.shape.depends_on.get(at), extra.depends_on.get(&at)),
                notify: &targets(self.shape.notify.get(at), extra.notify.get(&at)),
            })?;
        }
        out.finish(name, depends_on)
    }

    /// Paths of the secrets in it.
    fn secrets(&self) -> BTreeSet<Arc<str>> {
        let mut out = BTreeSet::new();
        let shipped = self.instances.iter().filter(|i| !i.dropped);
        for (_, expr) in shipped.flat_map(|i| i.attributes.iter().chain(&i.defaults)) {
            expr.walk(&mut |e| {
                if let Expr::Const(value) = e {
                    secret_paths(value, &mut out);
                }
            });
        }
        out
    }
}

/// Resources of other modules: (module, resource).
pub type FarEnds = BTreeSet<(Arc<str>, Arc<str>)>;

/// Edges between modules, by instance of this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraEdges {
    /// What comes first.
    pub depends_on: BTreeMap<usize, FarEnds>,
    /// What is told.
    pub notify: BTreeMap<usize, FarEnds>,
}

/// Specialises a module file.
#[salsa::tracked(returns(ref))]
pub fn specialised<'db>(
    db: &'db dyn Db,
    project: Project,
    file: SourceFile,
    types: TypesKey<'db>,
    facts: FactsKey<'db>,
) -> Specialised {
    composed(db, project, file, types, facts, Depth::Full)
}

/// Evaluates the groups of a module and puts them together in run order.
pub(super) fn composed<'db>(
    db: &'db dyn Db,
    project: Project,
    file: SourceFile,
    types: TypesKey<'db>,
    facts: FactsKey<'db>,
    depth: Depth,
) -> Specialised {
    let Some(module) = typed(db, project, file, types) else { return Specialised::default() };
    let mut out = Specialised::default();
    if let Some(when) = &module.when {
        let (gate, found) = gate(db, file, when, facts);
        out.found = found;
        match gate {
            Gate::Open => {}
            Gate::Closed => out.gated = true,
            Gate::Later(expr) => out.gate = Some(expr),
        }
    }
    let all = facts.facts(db);
    let groups = module.groups(depth);
    let mut instances: Vec<(usize, Arc<Instance>)> = Vec::with_capacity(module.resources.len());
    let mut names = Vec::with_capacity(groups.len());
    let mut spent = Spent::default();
    for (number, group) in groups.iter().enumerate() {
        let facts = FactsKey::new(db, all.only(&group.reads));
        let part = evaluated(db, project, file, types, depth, number, facts);
        instances.extend(part.instances.iter().cloned());
        names.push(Arc::clone(&part.names));
        out.templated.extend(part.names.templated.iter().cloned());
        out.listed.extend(part.names.listed.iter().cloned());
        // What no envoy of the class gets can fail on none; its names and edges are looked at all the same.
        if !out.gated {
            out.undecided.extend(part.undecided.iter().cloned());
            out.found.extend(part.found.iter().cloned());
            spent = spent.and(part.spent);
        }
    }
    // however the resources are grouped, together they spend the same
    if let Some(limit) = spent.exceeds() {
        let sink = Sink::new(file.path(db).clone());
        let span = crate::resolve::interface::module(db, file).map_or(Span::new(0, 0), |m| m.name.span);
        let finding = sink.say(&LIMIT_EXCEEDED, span, limit.to_string());
        out.found.push(finding.label("all resources of this module together").help("split it"));
    }
    // stable: the instances of one foreach keep their order
    instances.sort_by_key(|(number, _)| *number);
    let names = NamesKey::new(db, names);
    out.shape = Arc::clone(shape(db, project, file, types, names));
    out.found.extend(out.shape.found.iter().cloned());
    out.instances =
        out.shape.order.iter().filter_map(|at| Some(Arc::clone(&instances.get(*at)?.1))).collect();
    out
}

/// Specialises and encodes a module that no other module adds edges to. What it is made of is not kept: a fleet has many
/// times more specialised modules than anybody looks into.
#[salsa::tracked(returns(ref))]
pub fn encoded<'db>(
    db: &'db dyn Db,
    project: Project,
    file: SourceFile,
    types: TypesKey<'db>,
    facts: FactsKey<'db>,
) -> Alone {
    let spec = composed(db, project, file, types, facts, Depth::Full);
    let interface = interface(db, file);
    let name = interface.map(|i| i.name.clone()).unwrap_or_default();
    let depends_on = interface.map(|i| i.depends_on.as_slice()).unwrap_or_default();
    let bytes = encode(&spec, &name, depends_on, &ExtraEdges::default(), file.path(db));
    let errors = spec.found.into_iter().filter(|d| d.severity == Severity::Error).collect();
    Alone { bytes, errors }
}

/// Encodes a module; the limits of the wire form are a finding in its file.
pub fn encode(
    spec: &Specialised,
    name: &str,
    depends_on: &[Arc<str>],
    extra: &ExtraEdges,
    file: &Arc<str>,
) -> Result<Encoded, Box<Diagnostic>> {
    match spec.encode(name, depends_on, extra) {
        Ok(bytes) => {
            Ok(Encoded { hash: ir::Hash::of(&bytes), bytes: bytes.into(), secrets: Arc::new(spec.secrets()) })
        }
        Err(e) => {
            let message = format!("module `{name}` cannot be shipped: {e}");
            let sink = Sink::new(file.clone());
            Err(Box::new(sink.say(&LIMIT_EXCEEDED, Span::new(0, 0), message).help("split it")))
        }
    }
}

fn secret_paths(value: &Value, out: &mut BTreeSet<Arc<str>>) {
    match value {
        Value::Secret(path) => drop(out.insert(path.clone())),
        Value::List(items) => items.iter().for_each(|v| secret_paths(v, out)),
        Value::Map(map) => map.values().for_each(|v| secret_paths(v, out)),
        _ => {}
    }
}
