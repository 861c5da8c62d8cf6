//! Linking: the modules of a class with each other. References across modules, run order.

mod targets;

use super::edges::Target;
use super::instances::ExtraEdges;
use super::order::{drawn, order, steps};
use super::outline::{Outline, ResourceOutline, outline};
use super::parts::{Part, PartsKey, parts};
use super::shape::{External, useless_notify};
use super::typed::{EdgeKind, TypedResource, needs, typed};
use crate::db::{Db, Project, SourceFile};
use crate::diagnostic::codes::{
    AMBIGUOUS_REFERENCE, DEPENDENCY_CYCLE, NEVER_TRUE, UNKNOWN_RESOURCE, UNQUALIFIED_REFERENCE,
};
use crate::diagnostic::nearest::{listed, suggest};
use crate::diagnostic::{Diagnostic, Place};
use crate::resolve::class::{Class, resolved_class};
use crate::resolve::index::index;
use crate::resolve::interface::module;
use crate::resolve::vars::{TraitFacts, class_vars};
use grammar::Span;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
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
    /// Findings of linking the modules.
    pub found: Vec<Diagnostic>,
}

/// A module of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedModule {
    /// Its name.
    pub name: Arc<str>,
    /// Its file.
    pub file: SourceFile,
    /// Its place in the list of modules.
    pub part: usize,
    /// Edges that other modules add, by instance; mostly none.
    pub extra: ExtraEdges,
}

/// Modules linked with each other, whichever class has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// As of [`Linked`].
    modules: Vec<LinkedModule>,
    /// As of [`Linked`].
    gated: Vec<Arc<str>>,
    /// Shared traits that the modules look at.
    footprint: BTreeSet<Arc<str>>,
    /// As of [`Linked`]; without a place: of the entry.
    undecided: Vec<(Option<Place>, String)>,
    /// As of [`Linked`].
    pub found: Vec<Diagnostic>,
}

/// Links a class.
#[salsa::tracked(returns(ref))]
pub fn linked<'db>(db: &'db dyn Db, project: Project, class: Class<'db>, traits: TraitFacts<'db>) -> Linked {
    let links = links(db, project, parts(db, project, class, traits));
    let of_vars = &class_vars(db, project, class, traits).footprint;
    let entry = &resolved_class(db, project, class).place;
    let place = |(place, what): &(Option<Place>, String)| {
        (place.clone().unwrap_or_else(|| entry.clone()), what.clone())
    };
    Linked {
        modules: links.modules.clone(),
        gated: links.gated.clone(),
        footprint: links.footprint.union(of_vars).cloned().collect(),
        undecided: links.undecided.iter().map(place).collect(),
        found: links.found.clone(),
    }
}

/// Links modules.
#[salsa::tracked(returns(ref))]
pub fn links<'db>(db: &'db dyn Db, project: Project, parts: PartsKey<'db>) -> Links {
    let mut out = Links::default();
    let parts = parts.parts(db);
    let mut outlines = Vec::with_capacity(parts.len());
    for part in parts {
        db.unwind_if_revision_cancelled();
        for path in &needs(db, project, part.file, part.types).footprint {
            if !out.footprint.contains(path) {
                out.footprint.insert(path.clone());
            }
        }
        let outline = outline(db, project, part.file, part.types, part.facts, part.depth);
        if !outline.gated {
            let undecided = outline.undecided.iter().cloned();
            out.undecided.extend(undecided.map(|(place, what)| (Some(place), what)));
            // nothing of a variable may be left for the agent, which knows none
            out.undecided.extend(part.open.iter().map(|name| (None, format!("variable `{name}`"))));
        }
        outlines.push(Outlined { part, outline });
    }
    let by_name = outlines.iter().enumerate().map(|(at, o)| (&*o.part.name, at)).collect();
    let mut linking = Linking {
        db,
        project,
        broken: &index(db, project).broken,
        parts: &outlines,
        by_name,
        out,
        extra: BTreeMap::new(),
        module_edges: Vec::new(),
    };
    linking.module_dependencies();
    linking.references();
    linking.unique_targets();
    linking.untold();
    linking.run_order();
    linking.out
}

struct Outlined<'db> {
    part: &'db Part<'db>,
    outline: &'db Outline,
}

/// Why one module comes before another.
#[derive(Clone, Copy)]
enum Cause {
    /// The nth `depends_on:` of the module.
    Module(usize),
    /// A reference: the module that has it, the resource, and the nth of its references; the two ends as module and
    /// resource.
    Reference { from: usize, reference: (usize, usize), kind: EdgeKind, ours: usize, theirs: (usize, usize) },
}

struct Linking<'a, 'db> {
    db: &'db dyn Db,
    project: Project,
    /// Names of files that cannot be read.
    broken: &'db BTreeSet<Arc<str>>,
    parts: &'a [Outlined<'db>],
    by_name: FxHashMap<&'db str, usize>,
    out: Links,
    /// By part.
    extra: BTreeMap<usize, ExtraEdges>,
    /// (first, then) by part.
    module_edges: Vec<((usize, usize), Cause)>,
}

impl<'db> Linking<'_, 'db> {
    fn name(&self, part: usize) -> &'db Arc<str> {
        &self.parts[part].part.name
    }

    fn resources(&self, part: usize) -> &'db [ResourceOutline] {
        &self.parts[part].outline.resources
    }

    /// As typed; asked for only when there is something to report, since it changes with every edit.
    fn typed(&self, part: usize, number: usize) -> Option<&'db TypedResource> {
        let part = self.parts[part].part;
        typed(self.db, self.project, part.file, part.types).as_ref()?.resources.get(number)
    }

    fn place(&self, part: usize, span: Option<Span>) -> Place {
        let file = self.parts[part].part.file.path(self.db).clone();
        Place { file, span: span.unwrap_or(Span::new(0, 0)) }
    }

    fn place_of_reference(&self, part: usize, (number, nth): (usize, usize)) -> Place {
        let reference = self.typed(part, number).and_then(|r| r.edges.get(nth));
        self.place(part, reference.map(|r| r.to.span))
    }

    fn place_of_resource(&self, part: usize, resource: &ResourceOutline) -> Place {
        self.place(part, self.typed(part, resource.number).map(|r| r.span))
    }

    fn module_dependencies(&mut self) {
        for (at, part) in self.parts.iter().enumerate() {
            for (nth, needed) in part.outline.depends_on.iter().enumerate() {
                if let Some(first) = self.by_name.get(&**needed) {
                    self.module_edges.push(((*first, at), Cause::Module(nth)));
                }
            }
        }
    }

    fn references(&mut self) {
        for from in 0..self.parts.len() {
            for external in &self.parts[from].outline.shape.external {
                let text = &*external.text;
                let qualified = text.split_once('.').and_then(|(m, r)| Some((*self.by_name.get(m)?, r)));
                let (part, resource) = match qualified {
                    Some((part, resource)) => (part, resource),
                    None => match self.bare(from, external) {
                        Some(part) => (part, text),
                        None => continue,
                    },
                };
                let target = Target::new(resource);
                let outline = self.parts[part].outline;
                let found: Vec<usize> = outline
                    .resources
                    .iter()
                    .enumerate()
                    .filter(|(_, i)| target.means(&i.name))
                    .map(|(at, _)| at)
                    .collect();
                if found.is_empty() && !target.may_be_of(&outline.templated, &outline.listed) {
                    let mut known: Vec<&str> = outline.resources.iter().map(|i| &*i.name).collect();
                    known.sort_unstable();
                    let message = format!(
                        "`{}:` names `{text}`; module `{}` has no resource `{resource}`",
                        external.kind.key(),
                        self.name(part)
                    );
                    let place = self.place_of_reference(from, external.reference);
                    let finding = Diagnostic::new(&UNKNOWN_RESOURCE, place, message)
                        .label("unknown resource")
                        .maybe_help(suggest(resource, known));
                    self.out.found.push(finding);
                    continue;
                }
                let told: Vec<_> = match external.kind {
                    EdgeKind::Notify => found.iter().filter_map(|to| outline.resources.get(*to)).collect(),
                    EdgeKind::Subscribes => self.resources(from).get(external.from).into_iter().collect(),
                    EdgeKind::DependsOn | EdgeKind::Before => Vec::new(),
                };
                if let Some(first) = told.first().filter(|_| !told.iter().any(|i| i.tied)) {
                    let place = self.place_of_reference(from, external.reference);
                    self.out.found.push(useless_notify(external.kind, &first.name, place));
                }
                for to in found {
                    self.edge(from, external, part, to);
                }
            }
        }
    }

    /// The module that a bare name means: the only other one that has it.
    fn bare(&mut self, from: usize, external: &External) -> Option<usize> {
        let (text, kind) = (&*external.text, external.kind);
        let target = Target::new(text);
        let having: Vec<usize> = (0..self.parts.len())
            .filter(|at| *at != from)
            .filter(|at| {
                let outline = self.parts[*at].outline;
                outline.resources.iter().any(|i| target.means(&i.name))
                    || target.may_be_of(&outline.templated, &outline.listed)
            })
            .collect();
        let place = self.place_of_reference(from, external.reference);
        match having[..] {
            [one] => {
                let name = self.name(one);
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
                    self.resources(from).iter().map(|i| i.name.to_string()).collect();
                known.sort_unstable();
                if text.contains('.') {
                    known.extend(self.parts.iter().flat_map(|p| {
                        p.outline.resources.iter().map(move |i| format!("{}.{}", p.part.name, i.name))
                    }));
                }
                if text.split_once('.').is_some_and(|(m, _)| self.broken.contains(m)) {
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
                    having.iter().map(|at| format!("{}.{text}", self.name(*at))).collect();
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

    fn edge(&mut self, from: usize, external: &External, part: usize, to: usize) {
        let (instance, kind) = (external.from, external.kind);
        let (Some(ours), Some(theirs)) = (self.resources(from).get(instance), self.resources(part).get(to))
        else {
            return;
        };
        let pair = match kind {
            EdgeKind::DependsOn | EdgeKind::Subscribes => (part, from),
            EdgeKind::Before | EdgeKind::Notify => (from, part),
        };
        let reference = external.reference;
        let cause = Cause::Reference { from, reference, kind, ours: instance, theirs: (part, to) };
        self.module_edges.push((pair, cause));
        // an edge goes with the resource that drops out
        let gated = |part: usize| self.parts[part].outline.gated;
        if ours.dropped || theirs.dropped || gated(from) || gated(part) {
            return;
        }
        let our_name = (self.name(from).clone(), ours.name.clone());
        let their_name = (self.name(part).clone(), theirs.name.clone());
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

    /// `when: changed` on a resource that nothing notifies.
    fn untold(&mut self) {
        if self.parts.iter().all(|p| p.outline.untold.is_empty()) {
            return;
        }
        let extra: BTreeSet<(Arc<str>, Arc<str>)> =
            self.extra.values().flat_map(|e| e.notify.values()).flatten().cloned().collect();
        for (part, p) in self.parts.iter().enumerate().filter(|(_, p)| !p.outline.gated) {
            for i in p.outline.untold.iter().filter_map(|at| p.outline.resources.get(*at)) {
                if extra.contains(&(p.part.name.clone(), i.name.clone())) || self.is_wired(part, i) {
                    continue;
                }
                let when = self.typed(part, i.number).and_then(|r| r.when.as_ref());
                let finding = Diagnostic::new(
                    &NEVER_TRUE,
                    self.place(part, when.map(|w| w.spans.span)),
                    format!("`changed` is never true: nothing notifies `{}`", i.name),
                )
                .label("never true")
                .help(format!("add `notify: [{}]` to the resource whose change it waits for", i.name));
                self.out.found.push(finding);
            }
        }
    }

    /// Whether the policy says that something notifies a resource, though for this class a condition is false or the
    /// list of a `foreach` is empty: what serves several classes need not do everything in each of them.
    fn is_wired(&self, part: usize, told: &ResourceOutline) -> bool {
        let all = |part: usize| {
            let part = self.parts[part].part;
            let typed = typed(self.db, self.project, part.file, part.types).as_ref();
            typed.map(|t| t.resources.as_slice()).unwrap_or_default()
        };
        let subscribes = |r: &TypedResource| r.edges.iter().any(|e| e.kind == EdgeKind::Subscribes);
        if self.typed(part, told.number).is_some_and(subscribes) {
            return true;
        }
        (0..self.parts.len()).any(|from| {
            let notifies = all(from).iter().flat_map(|r| &r.edges).filter(|e| e.kind == EdgeKind::Notify);
            notifies.map(|e| &*e.to.text).any(|text| {
                let (module, resource) = match text.split_once('.') {
                    Some((module, resource)) if self.by_name.contains_key(module) => (Some(module), resource),
                    _ => (None, text),
                };
                module.is_none_or(|module| *module == **self.name(part))
                    && Target::new(resource).means(&told.name)
            })
        })
    }

    fn run_order(&mut self) {
        let edges: Vec<(usize, usize)> = self.module_edges.iter().map(|(e, _)| *e).collect();
        let order = match order(self.parts.len(), &edges) {
            Ok(order) => order,
            Err(circles) => {
                let mut causes: FxHashMap<(usize, usize), Cause> = FxHashMap::default();
                for (edge, cause) in &self.module_edges {
                    causes.entry(*edge).or_insert(*cause);
                }
                circles.iter().for_each(|circle| self.report_circle(circle, &causes));
                (0..self.parts.len()).collect()
            }
        };
        for at in order {
            let Outlined { part, outline } = &self.parts[at];
            if outline.gated {
                self.out.gated.push(part.name.clone());
                continue;
            }
            let extra = self.extra.remove(&at).unwrap_or_default();
            self.out.modules.push(LinkedModule { name: part.name.clone(), file: part.file, part: at, extra });
        }
    }

    /// Where it says that one module comes before another, and what it says.
    fn reason(&self, (first, then): (usize, usize), cause: Cause) -> (Place, String) {
        match cause {
            Cause::Module(nth) => {
                let module = module(self.db, self.parts[then].part.file);
                let span = module.and_then(|m| m.depends_on.get(nth)).map(|n| n.span);
                let text = format!("module `{}` waits for `{}`", self.name(then), self.name(first));
                (self.place(then, span), text)
            }
            Cause::Reference { from, reference, kind, ours, theirs: (part, to) } => {
                let named = |part: usize, at: usize| {
                    let resource = self.resources(part).get(at).map(|r| &*r.name).unwrap_or_default();
                    format!("{}.{resource}", self.name(part))
                };
                let (we, they) = (named(from, ours), named(part, to));
                let text = match kind {
                    EdgeKind::DependsOn | EdgeKind::Subscribes => format!("`{we}` waits for `{they}`"),
                    EdgeKind::Before | EdgeKind::Notify => format!("`{we}` comes before `{they}`"),
                };
                (self.place_of_reference(from, reference), text)
            }
        }
    }

    fn report_circle(&mut self, circle: &[usize], causes: &FxHashMap<(usize, usize), Cause>) {
        let places: Vec<(Place, String)> =
            steps(circle).filter_map(|step| Some(self.reason(step, *causes.get(&step)?))).collect();
        let mut places = places.into_iter();
        let Some((place, text)) = places.next() else { return };
        let name = |at: usize| format!("`{}`", self.name(at));
        let (message, help) = match *circle {
            [one] => (format!("module {} waits for itself", name(one)), "take this edge out"),
            _ => (
                format!("modules wait for each other: {}", drawn(circle, name)),
                "modules run one after the other, so an edge between their resources orders the modules; take one of \
                 these edges out",
            ),
        };
        let mut finding = Diagnostic::new(&DEPENDENCY_CYCLE, place, message).label(text).help(help);
        for (place, text) in places {
            finding = finding.also(place, text);
        }
        self.out.found.push(finding);
    }
}
