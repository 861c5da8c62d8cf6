//! A class with facts: its modules specialised, linked with each other, ordered, hashed.

use super::edges::Target;
use super::instances::{
    Encoded, ExtraEdges, FactsKey, ModuleFacts, Specialised, encode, encoded, specialised,
};
use super::order::{drawn, order, steps};
use super::shape::useless_notify;
use super::typed::{EdgeKind, TypesKey, typed};
use crate::db::{Db, Project, SourceFile};
use crate::diagnostic::codes::{
    AMBIGUOUS_REFERENCE, DEPENDENCY_CYCLE, DUPLICATE_TARGET, LIMIT_EXCEEDED, NEVER_TRUE, UNKNOWN_RESOURCE,
    UNQUALIFIED_REFERENCE,
};
use crate::diagnostic::nearest::{listed, suggest};
use crate::diagnostic::{Diagnostic, Place, Severity};
use crate::expr::{VarType, truth};
use crate::resolve::class::{Class, resolved_class};
use crate::resolve::index::{Index, index};
use crate::resolve::interface::{interface, module, reads};
use crate::resolve::vars::{TraitFacts, VarValue, all_variables, class_vars};
use crate::schema::schema;
use grammar::Span;
use ir::{Hash, Value};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// A linked class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linked {
    /// Modules of the variant, in run order; gated ones are absent.
    pub modules: Vec<LinkedModule>,
    /// Modules that are assigned but gated off, in list order.
    pub gated: Vec<Arc<str>>,
    /// Shared traits that the class looks at.
    pub footprint: BTreeSet<Arc<str>>,
    /// What could not be decided without more traits.
    pub undecided: Vec<(Place, String)>,
    /// Findings of the modules and of linking them.
    pub found: Vec<Diagnostic>,
}

/// `module.name` of what comes first, and of what is told.
pub type ExtraNames = (Vec<Arc<str>>, Vec<Arc<str>>);

/// A module of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedModule {
    /// Its name.
    pub name: Arc<str>,
    /// Its file.
    pub file: SourceFile,
    /// Edges that other modules add, by instance; mostly none.
    pub extra: ExtraEdges,
}

/// The bytes of a linked class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembled {
    /// Modules of the variant, in run order.
    pub modules: Vec<(Arc<str>, Encoded)>,
    /// Hash of the merged variables.
    pub vars_hash: Hash,
    /// Root over variables and modules.
    pub merkle_root: Hash,
    /// Limits that are exceeded.
    pub found: Vec<Diagnostic>,
}

/// The keys under which a module of a class is typed and specialised.
pub fn keys<'db>(
    db: &'db dyn Db,
    project: Project,
    class: Class<'db>,
    traits: TraitFacts<'db>,
    file: SourceFile,
) -> (TypesKey<'db>, FactsKey<'db>) {
    let resolved = resolved_class(db, project, class);
    let vars = class_vars(db, project, class, traits);
    let reads = reads(db, project, file);
    let mut types = BTreeMap::new();
    let mut values = Vec::new();
    for name in &reads.vars {
        match vars.by_name.get(name).filter(|v| v.value != VarValue::Unset) {
            Some(v) => {
                types.insert(name.clone(), VarType::Set(v.ty.clone()));
                values.push((
                    name.clone(),
                    match &v.value {
                        VarValue::Set(value) => Some(value.clone()),
                        _ => None,
                    },
                ));
            }
            None => {
                // a parameter that nothing sets is reported at the entry; nothing follows from it
                let own = interface(db, file).and_then(|i| i.variables.iter().find(|d| d.name == *name));
                if let Some(own) = own.filter(|d| d.parameter) {
                    types.insert(name.clone(), VarType::Set(own.ty.clone()));
                    values.push((name.clone(), None));
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
    let types = TypesKey::new(db, types);
    let footprint = typed(db, project, file, types).as_ref().map(|t| &t.footprint);
    let facts = ModuleFacts {
        vars: values,
        traits: traits
            .values(db)
            .iter()
            .filter(|(path, _)| footprint.is_some_and(|f| f.contains(path)))
            .cloned()
            .collect(),
        environment: resolved.environment.clone().filter(|_| reads.environment),
        roles: if reads.roles { resolved.roles.clone() } else { Vec::new() },
        modules: if reads.modules { resolved.modules.clone() } else { Vec::new() },
    };
    (types, FactsKey::new(db, facts))
}

/// Links a class.
#[salsa::tracked(returns(ref))]
pub fn linked<'db>(db: &'db dyn Db, project: Project, class: Class<'db>, traits: TraitFacts<'db>) -> Linked {
    let resolved = resolved_class(db, project, class);
    let vars = class_vars(db, project, class, traits);
    let mut out = Linked { footprint: vars.footprint.clone(), ..Linked::default() };
    let index = index(db, project);
    let mut parts = Vec::new();
    for name in &resolved.modules {
        db.unwind_if_revision_cancelled();
        let Some(file) = index.modules.get(name).copied() else { continue };
        let (types, facts) = keys(db, project, class, traits, file);
        if let Some(typed) = typed(db, project, file, types) {
            out.footprint.extend(typed.footprint.iter().cloned());
            out.found.extend(typed.found.iter().cloned());
        }
        let spec = specialised(db, project, file, types, facts);
        out.found.extend(spec.found.iter().cloned());
        if !spec.gated {
            out.undecided.extend(spec.undecided.iter().cloned());
            // nothing of a variable may be left for the agent, which knows none
            let open = facts.facts(db).vars.iter().filter(|(_, value)| value.is_none());
            out.undecided
                .extend(open.map(|(name, _)| (resolved.place.clone(), format!("variable `{name}`"))));
        }
        let depends_on = interface(db, file).map(|i| i.depends_on.as_slice()).unwrap_or_default();
        parts.push(Part { name: name.clone(), file, spec, depends_on, path: file.path(db) });
    }
    let mut linking =
        Linking { db, index, parts: &parts, out, extra: BTreeMap::new(), module_edges: Vec::new() };
    linking.module_dependencies();
    linking.references();
    linking.unique_targets();
    linking.untold();
    linking.run_order();
    linking.out
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
    let mut out = Assembled::default();
    for module in &linked.modules {
        let (types, facts) = keys(db, project, class, traits, module.file);
        let bytes = if module.extra == ExtraEdges::default() {
            encoded(db, project, module.file, types, facts).clone()
        } else {
            let spec = specialised(db, project, module.file, types, facts);
            let depends_on = interface(db, module.file).map(|i| i.depends_on.as_slice()).unwrap_or_default();
            encode(&spec.module(&module.name, depends_on, &module.extra), module.file.path(db))
        };
        match bytes {
            Ok(bytes) => out.modules.push((module.name.clone(), bytes)),
            Err(finding) => out.found.push(*finding),
        }
    }
    let known: BTreeMap<Arc<str>, Value> =
        class_vars(db, project, class, traits).known().map(|(n, v)| (n.clone(), v.clone())).collect();
    match ir::wire::hash_value(&Value::Map(known)) {
        Ok(hash) => out.vars_hash = hash,
        Err(e) => {
            let place = resolved_class(db, project, class).place.clone();
            let message = format!("the variables are too large: {e}");
            out.found.push(Diagnostic::new(&LIMIT_EXCEEDED, place, message).label("of this entry"));
        }
    }
    let mut rows: Vec<(&str, Hash)> = out.modules.iter().map(|(name, e)| (&**name, e.hash)).collect();
    rows.sort_unstable();
    out.merkle_root = ir::merkle::bundle_root(out.vars_hash, rows);
    out
}

struct Part<'db> {
    name: Arc<str>,
    file: SourceFile,
    spec: &'db Specialised,
    depends_on: &'db [Arc<str>],
    path: &'db Arc<str>,
}

struct Linking<'a, 'db> {
    db: &'db dyn Db,
    index: &'db Index,
    parts: &'a [Part<'db>],
    out: Linked,
    /// By part.
    extra: BTreeMap<usize, ExtraEdges>,
    /// (first, then) by part, with the place that says so.
    module_edges: Vec<((usize, usize), Place, String)>,
}

impl Linking<'_, '_> {
    fn place(&self, part: usize, span: Span) -> Place {
        Place { file: self.parts[part].path.clone(), span }
    }

    fn module_dependencies(&mut self) {
        let by_name: HashMap<&str, usize> =
            self.parts.iter().enumerate().map(|(at, p)| (&*p.name, at)).collect();
        for (at, part) in self.parts.iter().enumerate() {
            for (n, needed) in part.depends_on.iter().enumerate() {
                let Some(first) = by_name.get(&**needed) else { continue };
                let text = format!("module `{}` waits for `{needed}`", part.name);
                // the number of the dependency stands for its place until there is a circle to show
                self.module_edges.push(((*first, at), self.place(at, Span::new(n as u32, u32::MAX)), text));
            }
        }
    }

    fn references(&mut self) {
        for from in 0..self.parts.len() {
            for external in self.parts[from].spec.external() {
                let text = &*external.text;
                let place = self.place(from, external.span);
                let qualified = text
                    .split_once('.')
                    .and_then(|(m, r)| Some((self.parts.iter().position(|p| *p.name == *m)?, r)));
                let (part, resource) = match qualified {
                    Some((part, resource)) => (part, resource),
                    None => match self.bare(from, text, &place, external.kind) {
                        Some(part) => (part, text),
                        None => continue,
                    },
                };
                let target = Target::new(resource);
                let spec = self.parts[part].spec;
                let found: Vec<usize> = spec
                    .instances
                    .iter()
                    .enumerate()
                    .filter(|(_, i)| target.means(&i.name))
                    .map(|(at, _)| at)
                    .collect();
                if found.is_empty() && !target.may_be_of(&spec.templated, &spec.listed) {
                    let mut known: Vec<&str> = spec.instances.iter().map(|i| &*i.name).collect();
                    known.sort_unstable();
                    let message = format!(
                        "`{}:` names `{text}`; module `{}` has no resource `{resource}`",
                        external.kind.key(),
                        self.parts[part].name
                    );
                    let finding = Diagnostic::new(&UNKNOWN_RESOURCE, place, message)
                        .label("unknown resource")
                        .maybe_help(suggest(resource, known));
                    self.out.found.push(finding);
                    continue;
                }
                let told: Vec<_> = match external.kind {
                    EdgeKind::Notify => found.iter().map(|to| &spec.instances[*to]).collect(),
                    EdgeKind::Subscribes => vec![&self.parts[from].spec.instances[external.from]],
                    EdgeKind::DependsOn | EdgeKind::Before => Vec::new(),
                };
                if let Some(first) = told.first().filter(|_| !told.iter().any(|i| i.tied)) {
                    self.out.found.push(useless_notify(external.kind, &first.name, place.clone()));
                }
                for to in found {
                    self.edge(from, external.from, part, to, external.kind, &place);
                }
            }
        }
    }

    /// The module that a bare name means: the only other one that has it.
    fn bare(&mut self, from: usize, text: &str, place: &Place, kind: EdgeKind) -> Option<usize> {
        let target = Target::new(text);
        let having: Vec<usize> = (0..self.parts.len())
            .filter(|at| *at != from)
            .filter(|at| {
                let spec = self.parts[*at].spec;
                spec.instances.iter().any(|i| target.means(&i.name))
                    || target.may_be_of(&spec.templated, &spec.listed)
            })
            .collect();
        match having[..] {
            [one] => {
                let name = &self.parts[one].name;
                let finding = Diagnostic::new(
                    &UNQUALIFIED_REFERENCE,
                    place.clone(),
                    format!("`{text}` is a resource of module `{name}`"),
                )
                .label("of another module")
                .help(format!("write `{name}.{text}`"))
                .fix(place.span, format!("{name}.{text}"));
                self.out.found.push(finding);
                Some(one)
            }
            [] => {
                let mut known: Vec<String> =
                    self.parts[from].spec.instances.iter().map(|i| i.name.to_string()).collect();
                known.sort_unstable();
                if text.contains('.') {
                    known.extend(self.parts.iter().flat_map(|p| {
                        p.spec.instances.iter().map(move |i| format!("{}.{}", p.name, i.name))
                    }));
                }
                if text.split_once('.').is_some_and(|(m, _)| self.index.broken.contains(m)) {
                    return None;
                }
                let not_assigned = text.split_once('.').map(|(m, _)| m.to_owned());
                let message = match &not_assigned {
                    Some(m) => format!(
                        "`{}:` names `{text}`; there is no such resource, or module `{m}` is not assigned",
                        kind.key()
                    ),
                    None => format!("`{}:` names `{text}`, which does not exist", kind.key()),
                };
                let finding = Diagnostic::new(&UNKNOWN_RESOURCE, place.clone(), message)
                    .label("unknown resource")
                    .maybe_help(suggest(text, known.iter().map(String::as_str)));
                self.out.found.push(finding);
                None
            }
            _ => {
                let names: Vec<String> =
                    having.iter().map(|at| format!("{}.{text}", self.parts[*at].name)).collect();
                let finding = Diagnostic::new(
                    &AMBIGUOUS_REFERENCE,
                    place.clone(),
                    format!("several modules have a resource `{text}`"),
                )
                .label("which one?")
                .help(format!("write one of {}", listed(names.iter().map(String::as_str))));
                self.out.found.push(finding);
                None
            }
        }
    }

    fn edge(&mut self, from: usize, instance: usize, part: usize, to: usize, kind: EdgeKind, place: &Place) {
        let ours = &self.parts[from].spec.instances[instance];
        let theirs = &self.parts[part].spec.instances[to];
        let (we, they) = (
            format!("{}.{}", self.parts[from].name, ours.name),
            format!("{}.{}", self.parts[part].name, theirs.name),
        );
        let (pair, text) = match kind {
            EdgeKind::DependsOn | EdgeKind::Subscribes => {
                ((part, from), format!("`{we}` waits for `{they}`"))
            }
            EdgeKind::Before | EdgeKind::Notify => ((from, part), format!("`{we}` comes before `{they}`")),
        };
        self.module_edges.push((pair, place.clone(), text));
        // an edge goes with the resource that drops out
        if ours.dropped || theirs.dropped || self.parts[from].spec.gated || self.parts[part].spec.gated {
            return;
        }
        let our_name = (self.parts[from].name.clone(), ours.name.clone());
        let their_name = (self.parts[part].name.clone(), theirs.name.clone());
        let (holder, at, other, told) = match kind {
            EdgeKind::DependsOn => (from, instance, their_name, false),
            EdgeKind::Before => (part, to, our_name, false),
            EdgeKind::Notify => (from, instance, their_name, true),
            EdgeKind::Subscribes => (part, to, our_name, true),
        };
        let extra = self.extra.entry(holder).or_default();
        let list = if told { &mut extra.notify } else { &mut extra.depends_on };
        list.entry(at).or_default().insert(other);
    }

    /// Two resources of a unique type with one key on one envoy.
    fn unique_targets(&mut self) {
        let types = &schema().types;
        let mut seen: FxHashMap<(&str, Cow<'_, str>), Vec<(usize, usize)>> = FxHashMap::default();
        for (part, p) in self.parts.iter().enumerate().filter(|(_, p)| !p.spec.gated) {
            for (at, i) in p.spec.instances.iter().enumerate().filter(|(_, i)| !i.dropped) {
                let (Some(key), true, Some(kind)) = (&i.key, i.unique, types.get(&i.kind)) else { continue };
                let key = kind.canonical(key);
                let others = seen.entry((&kind.domain, key.clone())).or_default();
                let found = others.iter().copied().find_map(|other| self.clash((part, at), other));
                others.push((part, at));
                let Some(((other_part, other), open)) = found else { continue };
                let first = &self.parts[other_part].spec.instances[other];
                let message = match first.kind == i.kind {
                    true => format!("two resources manage the {} `{key}` of one envoy", i.kind),
                    false => format!("a {} and a {} manage `{key}` of one envoy", first.kind, i.kind),
                };
                let mut finding = Diagnostic::new(&DUPLICATE_TARGET, self.place(part, i.span), message)
                    .label(format!("`{}.{}`", p.name, i.name))
                    .also(
                        self.place(other_part, first.span),
                        format!("`{}.{}`", self.parts[other_part].name, first.name),
                    )
                    .help("keep one of them, or give them conditions that exclude each other");
                if open {
                    finding.severity = Severity::Warning;
                }
                self.out.found.push(finding);
            }
        }
    }

    /// The other of two resources with one key, when both may be there, and whether a condition is open.
    fn clash(&self, this: (usize, usize), other: (usize, usize)) -> Option<((usize, usize), bool)> {
        let spec = |at: (usize, usize)| self.parts[at.0].spec;
        let (i, first) = (&spec(this).instances[this.1], &spec(other).instances[other.1]);
        // two of one name are reported as such
        if other.0 == this.0 && first.name == i.name {
            return None;
        }
        // what is taken away may make room for something of another type
        if first.kind != i.kind && (first.is_absent() || i.is_absent()) {
            return None;
        }
        let (ours, theirs) = (spec(this).when(i), spec(other).when(first));
        match (&ours, &theirs) {
            (Some(ours), Some(theirs)) if truth::exclude(ours, theirs) => None,
            _ => Some((other, ours.is_some() || theirs.is_some())),
        }
    }

    /// `when: changed` on a resource that nothing notifies.
    fn untold(&mut self) {
        let mut told: HashSet<(&str, &str)> = HashSet::new();
        for p in self.parts {
            let targets = p.spec.shape.notify.iter().flatten();
            told.extend(targets.filter_map(|to| Some((&*p.name, &*p.spec.instances.get(*to)?.name))));
        }
        let extra: BTreeSet<(Arc<str>, Arc<str>)> =
            self.extra.values().flat_map(|e| e.notify.values()).flatten().cloned().collect();
        for (part, p) in self.parts.iter().enumerate().filter(|(_, p)| !p.spec.gated) {
            for i in &p.spec.instances {
                let Some(span) = i.waits else { continue };
                if told.contains(&(&*p.name, &*i.name)) || extra.contains(&(p.name.clone(), i.name.clone())) {
                    continue;
                }
                let finding = Diagnostic::new(
                    &NEVER_TRUE,
                    self.place(part, span),
                    format!("`changed` is never true: nothing notifies `{}`", i.name),
                )
                .label("never true")
                .help(format!("add `notify: [{}]` to the resource whose change it waits for", i.name));
                self.out.found.push(finding);
            }
        }
    }

    fn run_order(&mut self) {
        let edges: Vec<(usize, usize)> = self.module_edges.iter().map(|(e, ..)| *e).collect();
        let order = match order(self.parts.len(), &edges) {
            Ok(order) => order,
            Err(circles) => {
                let mut places: HashMap<(usize, usize), usize> = HashMap::new();
                for (number, (edge, ..)) in self.module_edges.iter().enumerate() {
                    places.entry(*edge).or_insert(number);
                }
                circles.iter().for_each(|circle| self.report_circle(circle, &places));
                (0..self.parts.len()).collect()
            }
        };
        for at in order {
            let part = &self.parts[at];
            if part.spec.gated {
                self.out.gated.push(part.name.clone());
                continue;
            }
            let extra = self.extra.remove(&at).unwrap_or_default();
            self.out.modules.push(LinkedModule { name: part.name.clone(), file: part.file, extra });
        }
    }

    fn report_circle(&mut self, circle: &[usize], edges: &HashMap<(usize, usize), usize>) {
        let mut places: Vec<(Place, String)> = Vec::new();
        for step in steps(circle) {
            let Some((_, place, text)) = edges.get(&step).and_then(|n| self.module_edges.get(*n)) else {
                continue;
            };
            let mut place = place.clone();
            if place.span.end == u32::MAX {
                place.span = module(self.db, self.parts[step.1].file)
                    .and_then(|m| m.depends_on.get(place.span.start as usize))
                    .map_or(Span::new(0, 0), |n| n.span);
            }
            places.push((place, text.clone()));
        }
        let mut places = places.into_iter();
        let Some((place, text)) = places.next() else { return };
        let name = |at: usize| format!("`{}`", self.parts[at].name);
        let (message, help) = match *circle {
            [one] => (format!("module {} waits for itself", name(one)), "take this edge out"),
            _ => (
                format!("modules wait for each other: {}", drawn(circle, name)),
                "modules run one after the other, so an edge between their resources orders the modules; take one of these edges out",
            ),
        };
        let mut finding = Diagnostic::new(&DEPENDENCY_CYCLE, place, message).label(text).help(help);
        for (place, text) in places {
            finding = finding.also(place, text);
        }
        self.out.found.push(finding);
    }
}
