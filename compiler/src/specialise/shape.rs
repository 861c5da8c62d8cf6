//! How the resources of a module hang together: references, edges, run order. Looks at names only, so variants that
//! differ in values share it.
#![allow(missing_docs, reason = "salsa generates constructors and getters without docs")]

use super::edges::Target;
use super::order::{drawn, order, steps};
use super::typed::{EdgeKind, Reference, TypedResource, TypesKey, tied, typed};
use crate::db::{Db, Project, SourceFile};
use crate::diagnostic::codes::{
    DEPENDENCY_CYCLE, DUPLICATE_RESOURCE, LIMIT_EXCEEDED, UNKNOWN_RESOURCE, USELESS_NOTIFY,
};
use crate::diagnostic::nearest::suggest;
use crate::diagnostic::{Diagnostic, Place, Sink};
use grammar::Span;
use ir::Hash;
use std::collections::HashMap;
use std::sync::Arc;

/// Edges inside one module: patterns on both sides multiply.
const MAX_EDGES: usize = 1_000_000;

/// Names of the instances of one group. Compared by a hash made once, since every variant of a module asks for the
/// shape of its names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    hash: Hash,
    /// Each with the number of the resource it comes from.
    pub names: Vec<(usize, Arc<str>)>,
    /// Patterns of names that may exist under facts that are not known yet.
    pub templated: Vec<Arc<str>>,
    /// Patterns of the names of a `foreach` whose list is known: a reference with a `*` may mean none of them.
    pub listed: Vec<Arc<str>>,
}

impl Names {
    /// Names and patterns.
    pub fn new(names: Vec<(usize, Arc<str>)>, templated: Vec<Arc<str>>, listed: Vec<Arc<str>>) -> Self {
        let mut bytes = Vec::new();
        let mut add = |number: usize, name: &str| {
            bytes.extend_from_slice(&(number as u64).to_be_bytes());
            bytes.extend_from_slice(&(name.len() as u64).to_be_bytes());
            bytes.extend_from_slice(name.as_bytes());
        };
        names.iter().for_each(|(number, name)| add(*number, name));
        templated.iter().for_each(|name| add(usize::MAX, name));
        listed.iter().for_each(|name| add(usize::MAX - 1, name));
        Names { hash: Hash::of(&bytes), names, templated, listed }
    }
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Names {}

impl std::hash::Hash for Names {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

/// The names of a module's instances.
#[salsa::interned(debug)]
pub struct NamesKey<'db> {
    /// By group.
    #[returns(ref)]
    pub groups: Vec<Arc<Names>>,
}

/// Edges and order of a module's instances. Numbers are places in run order, except in `order` itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Run order, as places in source order. Not a permutation when there is a circle: then it is source order.
    pub order: Vec<usize>,
    /// For each instance those that come first and must not fail.
    pub depends_on: Vec<Vec<usize>>,
    /// For each instance those that are told.
    pub notify: Vec<Vec<usize>>,
    /// References to resources of other modules.
    pub external: Vec<External>,
    /// Findings.
    pub found: Vec<Diagnostic>,
}

/// A reference to another module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// The instance that has it.
    pub from: usize,
    /// The key it stands under.
    pub kind: EdgeKind,
    /// As written.
    pub text: Arc<str>,
    /// The number of the resource that has it, and its number among the references of that.
    pub reference: (usize, usize),
}

/// Resolves the references inside a module.
#[salsa::tracked(returns(ref))]
pub fn shape<'db>(
    db: &'db dyn Db,
    project: Project,
    file: SourceFile,
    types: TypesKey<'db>,
    names: NamesKey<'db>,
) -> Arc<Shape> {
    let Some(module) = typed(db, project, file, types) else { return Arc::default() };
    let groups = names.groups(db);
    let mut names: Vec<(usize, Arc<str>)> = groups.iter().flat_map(|g| g.names.iter().cloned()).collect();
    // stable: the instances of one foreach keep their order
    names.sort_by_key(|(number, _)| *number);
    let templated: Vec<Arc<str>> = groups.iter().flat_map(|g| g.templated.iter().cloned()).collect();
    let listed: Vec<Arc<str>> = groups.iter().flat_map(|g| g.listed.iter().cloned()).collect();
    let count = names.len();
    let mut work = Shaping {
        names: &names,
        templated: &templated,
        listed: &listed,
        resources: &module.resources,
        sink: Sink::new(file.path(db).clone()),
        out: Shape {
            order: (0..count).collect(),
            depends_on: vec![Vec::new(); count],
            notify: vec![Vec::new(); count],
            ..Shape::default()
        },
    };
    work.unique_names();
    work.edges(&module.name);
    work.out.found = work.sink.found;
    Arc::new(work.out)
}

struct Shaping<'a> {
    names: &'a [(usize, Arc<str>)],
    templated: &'a [Arc<str>],
    listed: &'a [Arc<str>],
    resources: &'a [TypedResource],
    sink: Sink,
    out: Shape,
}

impl Shaping<'_> {
    fn span(&self, at: usize) -> Span {
        self.resources.get(self.names[at].0).map_or(Span::new(0, 0), |r| r.span)
    }

    fn unique_names(&mut self) {
        let mut seen: HashMap<Arc<str>, Span> = HashMap::new();
        for (at, (_, name)) in self.names.iter().enumerate() {
            let span = self.span(at);
            if let Some(first) = seen.get(name) {
                let finding = self
                    .sink
                    .say(&DUPLICATE_RESOURCE, span, format!("two resources are named `{name}`"))
                    .label("again")
                    .also(self.sink.at(*first), "first");
                self.sink.push(finding);
            } else {
                seen.insert(name.clone(), span);
            }
        }
    }

    /// Resolves references inside the module, orders the instances.
    fn edges(&mut self, module: &Arc<str>) {
        let count = self.names.len();
        let names: HashMap<Arc<str>, usize> =
            self.names.iter().enumerate().map(|(at, (_, name))| (name.clone(), at)).collect();
        // (first, then) with the reference that says so
        let mut edges: Vec<((usize, usize), Span, EdgeKind)> = Vec::new();
        for at in 0..count {
            let number = self.names[at].0;
            let Some(resource) = self.resources.get(number) else { continue };
            for (nth, reference) in resource.edges.iter().enumerate() {
                match self.local(module, reference, &names) {
                    Some(targets) => {
                        if edges.len() + targets.len() > MAX_EDGES {
                            self.too_many_edges(reference.to.span);
                            return;
                        }
                        self.told(at, &targets, reference);
                        for to in targets {
                            self.edge(at, to, reference, &mut edges);
                        }
                    }
                    None => self.out.external.push(External {
                        from: at,
                        kind: reference.kind,
                        text: reference.to.text.clone(),
                        reference: (number, nth),
                    }),
                }
            }
        }
        let plain: Vec<(usize, usize)> = edges.iter().map(|(e, ..)| *e).collect();
        match order(count, &plain) {
            Ok(order) => self.reorder(&order),
            Err(circles) => {
                let mut places: HashMap<(usize, usize), (Span, EdgeKind)> = HashMap::new();
                for (edge, span, kind) in &edges {
                    places.entry(*edge).or_insert((*span, *kind));
                }
                circles.iter().for_each(|circle| self.report_circle(circle, &places));
            }
        }
    }

    fn too_many_edges(&mut self, span: Span) {
        let message = format!("the resources of a module refer to each other at most {MAX_EDGES} times");
        let finding = self.sink.say(&LIMIT_EXCEEDED, span, message).label("too many");
        self.sink.push(finding.help("name a single resource that all of them wait for"));
    }

    /// Whether a resource that is told asks for it.
    fn told(&mut self, at: usize, targets: &[usize], reference: &Reference) {
        let told: &[usize] = match reference.kind {
            EdgeKind::Notify => targets,
            EdgeKind::Subscribes => &[at],
            EdgeKind::DependsOn | EdgeKind::Before => return,
        };
        let asks = |at: &usize| {
            let resource = self.resources.get(self.names[*at].0);
            resource.is_some_and(|r| r.when.as_deref().is_some_and(tied))
        };
        if let Some(first) = told.first().filter(|_| !told.iter().any(asks)) {
            let place = self.sink.at(reference.to.span);
            self.sink.push(useless_notify(reference.kind, &self.names[*first].1, place));
        }
    }

    fn edge(
        &mut self,
        at: usize,
        to: usize,
        reference: &Reference,
        edges: &mut Vec<((usize, usize), Span, EdgeKind)>,
    ) {
        let pair = match reference.kind {
            EdgeKind::DependsOn => {
                self.out.depends_on[at].push(to);
                (to, at)
            }
            EdgeKind::Before => {
                self.out.depends_on[to].push(at);
                (at, to)
            }
            EdgeKind::Notify => {
                self.out.notify[at].push(to);
                (at, to)
            }
            EdgeKind::Subscribes => {
                self.out.notify[to].push(at);
                (to, at)
            }
        };
        edges.push((pair, reference.to.span, reference.kind));
    }

    /// The instances of this module that a reference means; `None` when it is for another module.
    fn local(
        &mut self,
        module: &Arc<str>,
        reference: &Reference,
        names: &HashMap<Arc<str>, usize>,
    ) -> Option<Vec<usize>> {
        let text = &*reference.to.text;
        if let Some(at) = names.get(text) {
            return Some(vec![*at]);
        }
        let qualified = text.split_once('.').filter(|(m, _)| *m == &**module).map(|(_, r)| r);
        let target = Target::new(qualified.unwrap_or(text));
        let names_of = self.names.iter().enumerate();
        let found: Vec<usize> =
            names_of.filter(|(_, (_, name))| target.means(name)).map(|(at, _)| at).collect();
        if !found.is_empty() || target.may_be_of(self.templated, self.listed) {
            return Some(found);
        }
        if qualified.is_some() {
            self.unknown(reference, names.keys().map(|k| &**k));
            return Some(Vec::new());
        }
        None
    }

    fn unknown<'a>(&mut self, reference: &Reference, known: impl Iterator<Item = &'a str>) {
        let mut known: Vec<&str> = known.collect();
        known.sort_unstable();
        let finding = self
            .sink
            .say(
                &UNKNOWN_RESOURCE,
                reference.to.span,
                format!("`{}:` names `{}`, which does not exist", reference.kind.key(), reference.to.text),
            )
            .label("unknown resource")
            .maybe_help(suggest(&reference.to.text, known));
        self.sink.push(finding);
    }

    /// From places in source order to places in run order.
    fn reorder(&mut self, order: &[usize]) {
        let mut place = vec![0; order.len()];
        for (new, old) in order.iter().enumerate() {
            place[*old] = new;
        }
        for lists in [&mut self.out.depends_on, &mut self.out.notify] {
            let mut old = std::mem::take(lists);
            for from in order {
                let mut list = std::mem::take(&mut old[*from]);
                list.iter_mut().for_each(|at| *at = place[*at]);
                list.sort_unstable();
                list.dedup();
                lists.push(list);
            }
        }
        for external in &mut self.out.external {
            external.from = place[external.from];
        }
        self.out.order = order.to_vec();
    }

    fn report_circle(&mut self, circle: &[usize], edges: &HashMap<(usize, usize), (Span, EdgeKind)>) {
        let name = |at: usize| format!("`{}`", self.names[at].1);
        let mut places = steps(circle).filter_map(|step| {
            let (span, kind) = edges.get(&step)?;
            let text = match kind {
                EdgeKind::DependsOn | EdgeKind::Subscribes => {
                    format!("{} waits for {}", name(step.1), name(step.0))
                }
                EdgeKind::Before | EdgeKind::Notify => {
                    format!("{} comes before {}", name(step.0), name(step.1))
                }
            };
            Some((*span, text))
        });
        let Some((span, text)) = places.next() else { return };
        let (message, help) = match *circle {
            [one] => (format!("resource {} waits for itself", name(one)), "take this edge out"),
            _ => (
                format!("resources wait for each other: {}", drawn(circle, name)),
                "take one of these edges out",
            ),
        };
        let mut finding = self.sink.say(&DEPENDENCY_CYCLE, span, message).label(text).help(help);
        for (span, text) in places {
            finding = finding.also(self.sink.at(span), text);
        }
        self.sink.push(finding);
    }
}

/// A resource that is told, but would do the same anyway.
pub(super) fn useless_notify(kind: EdgeKind, told: &str, place: Place) -> Diagnostic {
    let message = format!("`{}:` has no effect: `{told}` does not ask whether anything changed", kind.key());
    let help = format!(
        "give `{told}` the condition `when: changed` to run it only then, or write `depends_on:` if only the order \
         matters"
    );
    Diagnostic::new(&USELESS_NOTIFY, place, message).label("nothing is triggered").help(help)
}
