//! A module specialised for one set of facts: its groups evaluated and put together in run order.
#![allow(missing_docs, reason = "salsa generates constructors and getters without docs")]

use super::evaluate::{Gate, Spent, evaluated, gate};
use super::shape::{NamesKey, Shape, shape};
use super::typed::{Depth, Reads, TypesKey, typed};
use crate::db::{Db, Project, SourceFile};
use crate::diagnostic::codes::LIMIT_EXCEEDED;
use crate::diagnostic::{Diagnostic, Place, Sink};
use crate::resolve::interface::interface;
use grammar::Span;
use ir::{Expr, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// What `reads` looks at.
    pub(super) fn only(&self, reads: &Reads) -> ModuleFacts {
        ModuleFacts {
            vars: self.vars.iter().filter(|(name, _)| reads.vars.contains(name)).cloned().collect(),
            traits: self.traits.iter().filter(|(path, _)| reads.traits.contains(path)).cloned().collect(),
            environment: self.environment.clone().filter(|_| reads.environment),
            roles: if reads.roles { self.roles.clone() } else { Vec::new() },
            modules: if reads.modules { self.modules.clone() } else { Vec::new() },
        }
    }
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
    pub fn when(&self, instance: &Instance) -> Option<Expr> {
        match (&self.gate, &instance.when) {
            (Some(gate), Some(when)) => Some(Expr::And(Box::new(gate.clone()), Box::new(when.clone()))),
            (Some(gate), None) => Some(gate.clone()),
            (None, when) => when.clone(),
        }
    }

    /// The IR of the module; `extra` are edges that other modules add, by instance.
    pub fn module(&self, name: &Arc<str>, depends_on: &[Arc<str>], extra: &ExtraEdges) -> ir::Module {
        let mut number = HashMap::new();
        for (at, _) in self.instances.iter().enumerate().filter(|(_, i)| !i.dropped) {
            number.insert(at, number.len() as u32);
        }
        let targets = |local: &[usize], others: Option<&BTreeSet<(Arc<str>, Arc<str>)>>| {
            let mut out: Vec<ir::Target> =
                local.iter().filter_map(|at| number.get(at)).map(|n| ir::Target::Local(*n)).collect();
            out.extend(
                others
                    .into_iter()
                    .flatten()
                    .map(|(m, r)| ir::Target::Other { module: m.clone(), resource: r.clone() }),
            );
            out
        };
        let edges = |lists: &[Vec<usize>], at: usize| lists.get(at).cloned().unwrap_or_default();
        let resources = self
            .instances
            .iter()
            .enumerate()
            .filter(|(_, i)| !i.dropped)
            .map(|(at, i)| {
                let mut attributes: Vec<_> = i.attributes.iter().chain(&i.defaults).cloned().collect();
                attributes.sort_by(|a, b| a.0.cmp(&b.0));
                ir::Resource {
                    name: i.name.clone(),
                    kind: i.kind.clone(),
                    when: self.when(i),
                    attributes,
                    depends_on: targets(&edges(&self.shape.depends_on, at), extra.depends_on.get(&at)),
                    notify: targets(&edges(&self.shape.notify, at), extra.notify.get(&at)),
                }
            })
            .collect();
        ir::Module { name: name.clone(), depends_on: depends_on.to_vec(), resources }
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

/// The bytes of a module that no other module adds edges to.
#[salsa::tracked(returns(ref))]
pub fn encoded<'db>(
    db: &'db dyn Db,
    project: Project,
    file: SourceFile,
    types: TypesKey<'db>,
    facts: FactsKey<'db>,
) -> Result<Encoded, Box<Diagnostic>> {
    let spec = specialised(db, project, file, types, facts);
    let interface = interface(db, file);
    let name = interface.map(|i| i.name.clone()).unwrap_or_default();
    let depends_on = interface.map(|i| i.depends_on.as_slice()).unwrap_or_default();
    encode(&spec.module(&name, depends_on, &ExtraEdges::default()), file.path(db))
}

/// Encodes a module; the limits of the wire form are a finding in its file.
pub fn encode(module: &ir::Module, file: &Arc<str>) -> Result<Encoded, Box<Diagnostic>> {
    match ir::wire::encode_module(module) {
        Ok(bytes) => Ok(Encoded {
            hash: ir::Hash::of(&bytes),
            bytes: bytes.into(),
            secrets: Arc::new(secrets(module)),
        }),
        Err(e) => {
            let message = format!("module `{}` cannot be shipped: {e}", module.name);
            let sink = Sink::new(file.clone());
            Err(Box::new(sink.say(&LIMIT_EXCEEDED, Span::new(0, 0), message).help("split it")))
        }
    }
}

fn secrets(module: &ir::Module) -> BTreeSet<Arc<str>> {
    let mut out = BTreeSet::new();
    for (_, expr) in module.resources.iter().flat_map(|r| &r.attributes) {
        expr.walk(&mut |e| {
            if let Expr::Const(value) = e {
                secret_paths(value, &mut out);
            }
        });
    }
    out
}

fn secret_paths(value: &Value, out: &mut BTreeSet<Arc<str>>) {
    match value {
        Value::Secret(path) => drop(out.insert(path.clone())),
        Value::List(items) => items.iter().for_each(|v| secret_paths(v, out)),
        Value::Map(map) => map.values().for_each(|v| secret_paths(v, out)),
        _ => {}
    }
}
