//! What differs between two variants, module by module and resource by resource.

use super::Status;
use crate::policy::{Variant, VariantModule};
use ir::{Expr, Hash, Module, Target, Value};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One change of what an envoy gets. Equal changes are equal on every envoy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A module comes, with all it has.
    ModuleAdded {
        /// Its name.
        module: Arc<str>,
        /// In run order.
        resources: Vec<Resource>,
    },
    /// A module goes, with all it had.
    ModuleRemoved {
        /// Its name.
        module: Arc<str>,
        /// In run order.
        resources: Vec<Resource>,
    },
    /// A module waits for other modules than before.
    ModuleChanged {
        /// Its name.
        module: Arc<str>,
        /// What is different.
        parts: Vec<Part>,
    },
    /// A resource comes.
    Added {
        /// Its module.
        module: Arc<str>,
        /// What it is.
        resource: Resource,
    },
    /// A resource goes: it is no longer managed.
    Removed {
        /// Its module.
        module: Arc<str>,
        /// What it was.
        resource: Resource,
    },
    /// A resource is another one.
    Changed {
        /// Its module.
        module: Arc<str>,
        /// Its name.
        name: Arc<str>,
        /// Its type in the new policy.
        kind: Arc<str>,
        /// What is different.
        parts: Vec<Part>,
    },
    /// Something runs at another place, and is otherwise what it was.
    Moved {
        /// Whose resources; `None`: the modules themselves.
        module: Option<Arc<str>>,
        /// What moved.
        moves: Vec<Move>,
    },
}

/// A resource as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub kind: Arc<str>,
    /// Its condition.
    pub when: Option<Expr>,
    /// By name; those with the default of the type too.
    pub attributes: Vec<(Arc<str>, Expr)>,
    /// `module.name`
    pub depends_on: Vec<Arc<str>>,
    /// `module.name`
    pub notify: Vec<Arc<str>>,
}

/// What of a resource or module is different.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The type of the resource.
    Type {
        /// Before.
        old: Arc<str>,
        /// Now.
        new: Arc<str>,
    },
    /// The condition; `None` is always.
    When {
        /// Before.
        old: Option<Expr>,
        /// Now.
        new: Option<Expr>,
    },
    /// An attribute; `None`: there is none.
    Attribute {
        /// Its name.
        name: Arc<str>,
        /// Before.
        old: Option<Expr>,
        /// Now.
        new: Option<Expr>,
    },
    /// Edges of one kind, sorted.
    Edges {
        /// `depends_on` or `notify`.
        key: &'static str,
        /// New ones.
        added: Vec<Arc<str>>,
        /// Those that are gone.
        removed: Vec<Arc<str>>,
    },
}

/// Something that runs at another place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Move {
    /// What.
    pub name: Arc<str>,
    /// What now comes right before it; `None`: it is the first.
    pub after: Option<Arc<str>>,
}

impl Change {
    /// What kind of change it is: `added`, `removed`, `changed` or `reordered`.
    pub fn kind(&self) -> &'static str {
        match self {
            Change::ModuleAdded { .. } | Change::Added { .. } => "added",
            Change::ModuleRemoved { .. } | Change::Removed { .. } => "removed",
            Change::ModuleChanged { .. } | Change::Changed { .. } => "changed",
            Change::Moved { .. } => "reordered",
        }
    }

    /// Its module; `None` where it is about the modules of an envoy.
    pub fn module(&self) -> Option<&Arc<str>> {
        match self {
            Change::ModuleAdded { module, .. }
            | Change::ModuleRemoved { module, .. }
            | Change::ModuleChanged { module, .. }
            | Change::Added { module, .. }
            | Change::Removed { module, .. }
            | Change::Changed { module, .. } => Some(module),
            Change::Moved { module, .. } => module.as_ref(),
        }
    }

    /// Its resource; `None` where it is about a whole module.
    pub fn resource(&self) -> Option<&Arc<str>> {
        match self {
            Change::Added { resource, .. } | Change::Removed { resource, .. } => Some(&resource.name),
            Change::Changed { name, .. } => Some(name),
            Change::ModuleAdded { .. }
            | Change::ModuleRemoved { .. }
            | Change::ModuleChanged { .. }
            | Change::Moved { .. } => None,
        }
    }

    /// Types of the resources that it is about.
    pub fn types(&self) -> BTreeSet<&str> {
        match self {
            Change::ModuleAdded { resources, .. } | Change::ModuleRemoved { resources, .. } => {
                resources.iter().map(|r| &*r.kind).collect()
            }
            Change::Added { resource, .. } | Change::Removed { resource, .. } => {
                BTreeSet::from([&*resource.kind])
            }
            Change::Changed { kind, .. } => BTreeSet::from([&**kind]),
            Change::ModuleChanged { .. } | Change::Moved { .. } => BTreeSet::new(),
        }
    }

    /// How many resources leave the policy or become absent.
    pub fn deletes(&self) -> usize {
        let absent = |r: &Resource| r.attributes.iter().any(|(name, value)| is_absence(name, Some(value)));
        match self {
            Change::ModuleRemoved { resources, .. } => resources.len(),
            Change::ModuleAdded { resources, .. } => resources.iter().filter(|r| absent(r)).count(),
            Change::Removed { .. } => 1,
            Change::Added { resource, .. } => absent(resource).into(),
            Change::Changed { parts, .. } => parts
                .iter()
                .any(|part| matches!(part, Part::Attribute { name, new, .. } if is_absence(name, new.as_ref())))
                .into(),
            Change::ModuleChanged { .. } | Change::Moved { .. } => 0,
        }
    }
}

fn is_absence(name: &str, value: Option<&Expr>) -> bool {
    name == "state" && value.and_then(Expr::as_const).and_then(Value::as_str) == Some("absent")
}

/// Differences, each computed once.
#[derive(Debug, Default)]
pub struct Diffs {
    modules: FxHashMap<Hash, Option<Arc<Module>>>,
    pairs: FxHashMap<(Arc<str>, Hash, Hash), Vec<Arc<Change>>>,
}

impl Diffs {
    /// What differs between two variants, and what that is for their envoys.
    pub fn variants(&mut self, old: &Variant, new: &Variant) -> (Status, Vec<Arc<Change>>) {
        let (before, after) = (run_order(old), run_order(new));
        if old.merkle_root == new.merkle_root && before == after {
            return (Status::Unchanged, Vec::new());
        }
        let mut out = Vec::new();
        let (mut olds, mut news) = (old.modules.iter().peekable(), new.modules.iter().peekable());
        // both are sorted by name
        loop {
            match (olds.peek(), news.peek()) {
                (None, None) => break,
                (Some(a), Some(b)) if a.name == b.name => {
                    if a.hash != b.hash {
                        out.extend(self.modules(a, b));
                    }
                    olds.next();
                    news.next();
                }
                (Some(a), b) if b.is_none_or(|b| a.name < b.name) => {
                    out.extend(self.whole(a, false));
                    olds.next();
                }
                (_, Some(b)) => {
                    out.extend(self.whole(b, true));
                    news.next();
                }
                (Some(_), None) => break,
            }
        }
        let moves = moves(&before, &after);
        if !moves.is_empty() {
            out.push(Arc::new(Change::Moved { module: None, moves }));
        }
        let status = match out.iter().any(|c| !matches!(**c, Change::Moved { .. })) {
            true => Status::Changed,
            false if out.is_empty() => Status::Variables,
            false => Status::Reordered,
        };
        (status, out)
    }

    /// Bytes that this compiler wrote are read by it; anything else has no content to compare.
    fn decoded(&mut self, module: &VariantModule) -> Option<Arc<Module>> {
        self.modules
            .entry(module.hash)
            .or_insert_with(|| ir::wire::decode_module(&module.bytes).ok().map(Arc::new))
            .clone()
    }

    fn whole(&mut self, module: &VariantModule, added: bool) -> Option<Arc<Change>> {
        let decoded = self.decoded(module)?;
        let resources = decoded.resources.iter().map(|r| resource(&decoded, r)).collect();
        let module = module.name.clone();
        Some(Arc::new(match added {
            true => Change::ModuleAdded { module, resources },
            false => Change::ModuleRemoved { module, resources },
        }))
    }

    fn modules(&mut self, old: &VariantModule, new: &VariantModule) -> Vec<Arc<Change>> {
        let key = (new.name.clone(), old.hash, new.hash);
        if let Some(known) = self.pairs.get(&key) {
            return known.clone();
        }
        let changes = match (self.decoded(old), self.decoded(new)) {
            (Some(a), Some(b)) => between(&a, &b).into_iter().map(Arc::new).collect(),
            _ => Vec::new(),
        };
        self.pairs.insert(key, changes.clone());
        changes
    }
}

fn run_order(variant: &Variant) -> Vec<Arc<str>> {
    variant
        .run_order
        .iter()
        .filter_map(|at| variant.modules.get(*at as usize))
        .map(|module| module.name.clone())
        .collect()
}

/// What differs between two states of one module.
pub fn between(old: &Module, new: &Module) -> Vec<Change> {
    let module = new.name.clone();
    let mut out = Vec::new();
    let waits = edges("depends_on", old.depends_on.clone(), new.depends_on.clone());
    if let Some(part) = waits {
        out.push(Change::ModuleChanged { module: module.clone(), parts: vec![part] });
    }
    let of_old: FxHashMap<&str, &ir::Resource> = old.resources.iter().map(|r| (&*r.name, r)).collect();
    let of_new: FxHashMap<&str, &ir::Resource> = new.resources.iter().map(|r| (&*r.name, r)).collect();
    for r in &new.resources {
        match of_old.get(&*r.name) {
            None => out.push(Change::Added { module: module.clone(), resource: resource(new, r) }),
            Some(before) => {
                let parts = parts(&resource(old, before), &resource(new, r));
                if !parts.is_empty() {
                    let (name, kind) = (r.name.clone(), r.kind.clone());
                    out.push(Change::Changed { module: module.clone(), name, kind, parts });
                }
            }
        }
    }
    for r in old.resources.iter().filter(|r| !of_new.contains_key(&*r.name)) {
        out.push(Change::Removed { module: module.clone(), resource: resource(old, r) });
    }
    let names = |m: &Module| m.resources.iter().map(|r| r.name.clone()).collect::<Vec<_>>();
    let moves = moves(&names(old), &names(new));
    if !moves.is_empty() {
        out.push(Change::Moved { module: Some(module), moves });
    }
    out
}

fn resource(module: &Module, r: &ir::Resource) -> Resource {
    let names = |targets: &[Target]| {
        let full = |target: &Target| -> Option<Arc<str>> {
            Some(match target {
                Target::Local(at) => {
                    format!("{}.{}", module.name, module.resources.get(*at as usize)?.name).into()
                }
                Target::Other { module, resource } => format!("{module}.{resource}").into(),
            })
        };
        targets.iter().filter_map(full).collect()
    };
    Resource {
        name: r.name.clone(),
        kind: r.kind.clone(),
        when: r.when.clone(),
        attributes: r.attributes.clone(),
        depends_on: names(&r.depends_on),
        notify: names(&r.notify),
    }
}

fn parts(old: &Resource, new: &Resource) -> Vec<Part> {
    let mut out = Vec::new();
    if old.kind != new.kind {
        out.push(Part::Type { old: old.kind.clone(), new: new.kind.clone() });
    }
    if old.when != new.when {
        out.push(Part::When { old: old.when.clone(), new: new.when.clone() });
    }
    let value = |r: &Resource, name: &str| {
        r.attributes.iter().find(|(known, _)| **known == *name).map(|(_, value)| value.clone())
    };
    let names: BTreeSet<&Arc<str>> = old.attributes.iter().chain(&new.attributes).map(|(n, _)| n).collect();
    for name in names {
        let (before, now) = (value(old, name), value(new, name));
        if before != now {
            out.push(Part::Attribute { name: name.clone(), old: before, new: now });
        }
    }
    out.extend(edges("depends_on", old.depends_on.clone(), new.depends_on.clone()));
    out.extend(edges("notify", old.notify.clone(), new.notify.clone()));
    out
}

/// The order of a list of edges means nothing.
fn edges(key: &'static str, old: Vec<Arc<str>>, new: Vec<Arc<str>>) -> Option<Part> {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (old.into_iter().collect(), new.into_iter().collect());
    let added: Vec<_> = new.difference(&old).cloned().collect();
    let removed: Vec<_> = old.difference(&new).cloned().collect();
    (!added.is_empty() || !removed.is_empty()).then_some(Part::Edges { key, added, removed })
}

/// The fewest names that have to move to get from one order to the other; names that only one has do not count.
fn moves(old: &[Arc<str>], new: &[Arc<str>]) -> Vec<Move> {
    let places: FxHashMap<&str, usize> = old.iter().enumerate().map(|(at, name)| (&**name, at)).collect();
    let common: Vec<(usize, &Arc<str>)> =
        new.iter().filter_map(|name| Some((*places.get(&**name)?, name))).collect();
    if common.is_sorted_by_key(|(place, _)| *place) {
        return Vec::new();
    }
    let stays = longest_increasing(&common.iter().map(|(place, _)| *place).collect::<Vec<_>>());
    let before = |at: usize| at.checked_sub(1).and_then(|at| common.get(at)).map(|(_, name)| (*name).clone());
    common
        .iter()
        .enumerate()
        .filter(|(at, _)| !stays.contains(at))
        .map(|(at, (_, name))| Move { name: (*name).clone(), after: before(at) })
        .collect()
}

/// Indices of a longest increasing subsequence, by patience sorting.
fn longest_increasing(values: &[usize]) -> BTreeSet<usize> {
    // for each length the index of the smallest value that ends a sequence of it
    let mut ends: Vec<usize> = Vec::new();
    let mut previous: Vec<Option<usize>> = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        let length = ends.partition_point(|end| values.get(*end).is_some_and(|known| known < value));
        previous.push(length.checked_sub(1).and_then(|n| ends.get(n)).copied());
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut out = BTreeSet::new();
    let mut at = ends.last().copied();
    while let Some(index) = at {
        out.insert(index);
        at = previous.get(index).copied().flatten();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(text: &str) -> Vec<Arc<str>> {
        text.split_whitespace().map(Arc::from).collect()
    }

    fn moved(old: &str, new: &str) -> Vec<String> {
        let show = |m: Move| format!("{} after {}", m.name, m.after.as_deref().unwrap_or("nothing"));
        moves(&names(old), &names(new)).into_iter().map(show).collect()
    }

    #[test]
    fn the_fewest_names_move() {
        assert_eq!(moved("a b c d", "a c d b"), ["b after d"]);
        assert_eq!(moved("a b c", "c a b"), ["c after nothing"]);
        assert_eq!(moved("a b c", "a x b c"), [""; 0], "what comes moves nothing");
        assert_eq!(moved("a b c", "a c"), [""; 0], "what goes moves nothing");
    }

    proptest! {
        #[test]
        fn what_stays_is_in_order_and_longest(values in proptest::collection::vec(0usize..50, 0..9)) {
            let found = longest_increasing(&values);
            let kept: Vec<usize> = found.iter().map(|at| values[*at]).collect();
            prop_assert!(kept.is_sorted_by(|a, b| a < b));
            let best = (0u32..1 << values.len())
                .filter(|set| {
                    let chosen = (0..values.len()).filter(|at| set >> at & 1 == 1).map(|at| values[at]);
                    chosen.collect::<Vec<_>>().is_sorted_by(|a, b| a < b)
                })
                .map(u32::count_ones)
                .max();
            prop_assert_eq!(Some(kept.len() as u32), best);
        }
    }

    fn module(resources: &[(&str, &str)]) -> Module {
        let resources = resources.iter().map(|(name, content)| ir::Resource {
            name: (*name).into(),
            kind: "file".into(),
            when: None,
            attributes: vec![("content".into(), Expr::Const(Value::str(content)))],
            depends_on: Vec::new(),
            notify: Vec::new(),
        });
        Module { name: "m".into(), depends_on: Vec::new(), resources: resources.collect() }
    }

    #[test]
    fn edges_are_compared_by_name_and_not_by_place() {
        let mut old = module(&[("a", ""), ("b", "")]);
        old.resources[1].depends_on = vec![Target::Local(0)];
        let mut new = module(&[("x", ""), ("a", ""), ("b", "")]);
        new.resources[2].depends_on = vec![Target::Local(1)];
        let changes = between(&old, &new);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!(matches!(&changes[0], Change::Added { resource, .. } if &*resource.name == "x"));
    }

    #[test]
    fn another_order_is_no_change_and_another_content_is() {
        let kinds = |old: &[_], new: &[_]| -> Vec<&'static str> {
            between(&module(old), &module(new)).iter().map(Change::kind).collect()
        };
        assert_eq!(kinds(&[("a", "1"), ("b", "2")], &[("b", "2"), ("a", "1")]), ["reordered"]);
        assert_eq!(kinds(&[("a", "1"), ("b", "2")], &[("a", "1"), ("b", "3")]), ["changed"]);
        assert_eq!(kinds(&[("a", "1")], &[("b", "1")]), ["added", "removed"]);
        assert_eq!(kinds(&[("a", "1")], &[("a", "1")]), [""; 0]);
    }

    #[test]
    fn what_becomes_absent_is_deleted() {
        let mut gone = module(&[("a", "1")]);
        gone.resources[0].attributes = vec![("state".into(), Expr::Const(Value::str("absent")))];
        let deletes =
            |old: &Module, new: &Module| between(old, new).iter().map(Change::deletes).sum::<usize>();
        assert_eq!(deletes(&module(&[("a", "1")]), &gone), 1);
        assert_eq!(deletes(&gone, &module(&[("a", "1")])), 0);
        assert_eq!(deletes(&module(&[("a", "1"), ("b", "1")]), &module(&[("b", "2")])), 1);
    }
}
