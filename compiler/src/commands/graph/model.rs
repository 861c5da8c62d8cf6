//! What is drawn: resources by module, and edges by kind.

use crate::commands::failure::Failure;
use crate::commands::host::Host;
use crate::commands::resolve::state::State;
use crate::diagnostic::nearest::suggest;
use crate::resolve::interface::interface;
use ir::unparse::when_text;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// The part of the graph of a host that is drawn.
#[derive(Debug)]
pub(super) struct Graph {
    /// In run order; a module of which nothing is drawn is absent.
    pub(super) modules: Vec<Module>,
    /// Sorted.
    pub(super) edges: Vec<Edge>,
    /// Resources that are left out because there are too many.
    pub(super) left: usize,
}

/// A module.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) name: Arc<str>,
    /// In run order.
    pub(super) nodes: Vec<Node>,
}

/// A resource.
#[derive(Debug)]
pub(super) struct Node {
    /// `module.name`
    pub(super) id: String,
    pub(super) name: Arc<str>,
    pub(super) kind: Arc<str>,
    /// What is left of its condition.
    pub(super) when: Option<String>,
    /// It is what was asked about.
    pub(super) focus: bool,
}

/// Why one comes before the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum EdgeKind {
    /// The second depends on the first.
    DependsOn,
    /// The first notifies the second.
    Notify,
    /// The second module waits for the first.
    Module,
}

/// From what runs first to what runs after it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) kind: EdgeKind,
    /// `module.name`, or a module for [`EdgeKind::Module`].
    pub(super) from: String,
    pub(super) to: String,
}

/// What is asked about.
#[derive(Debug)]
pub(super) struct Focus<'a> {
    /// A module or `module.name`.
    pub(super) name: &'a str,
    /// Edges away; `None`: any number.
    pub(super) depth: Option<usize>,
}

impl EdgeKind {
    const ALL: [EdgeKind; 3] = [EdgeKind::DependsOn, EdgeKind::Notify, EdgeKind::Module];

    pub(super) fn name(self) -> &'static str {
        match self {
            EdgeKind::DependsOn => "depends_on",
            EdgeKind::Notify => "notify",
            EdgeKind::Module => "module",
        }
    }
}

/// Every kind of edge, by name.
pub(in crate::commands) fn edge_kinds() -> [&'static str; 3] {
    EdgeKind::ALL.map(EdgeKind::name)
}

impl Graph {
    /// At most `most` resources: those nearest to the focus, or else the first in run order.
    pub(super) fn of(
        host: &Host<'_>,
        state: &State,
        focus: Option<&Focus<'_>>,
        most: usize,
    ) -> Result<Graph, Failure> {
        let all: Vec<String> = state.resources.iter().map(|r| r.full_name()).collect();
        let mut edges: BTreeSet<Edge> = BTreeSet::new();
        for (r, id) in state.resources.iter().zip(&all) {
            edges.extend(r.notify.iter().map(|to| edge(EdgeKind::Notify, id, to)));
            for from in &r.depends_on {
                edges.insert(edge(EdgeKind::DependsOn, from, id));
            }
        }
        // who notifies comes first anyway: one arrow says it
        let told: BTreeSet<(String, String)> = edges
            .iter()
            .filter(|e| e.kind == EdgeKind::Notify)
            .map(|e| (e.from.clone(), e.to.clone()))
            .collect();
        edges.retain(|e| e.kind != EdgeKind::DependsOn || !told.contains(&(e.from.clone(), e.to.clone())));
        for module in &state.modules {
            let file = host.module_file(module);
            let waits = file.and_then(|f| interface(host.db, f)).map(|i| i.depends_on.as_slice());
            let waits = waits.unwrap_or_default().iter().filter(|first| state.modules.contains(first));
            edges.extend(waits.map(|first| edge(EdgeKind::Module, first, module)));
        }
        let chosen: Vec<usize> = match focus {
            None => (0..all.len()).collect(),
            Some(focus) => near(state, &all, &edges, focus)?,
        };
        let left = chosen.len().saturating_sub(most);
        let drawn: BTreeSet<usize> = chosen.into_iter().take(most).collect();
        let is_focus = |id: &str, module: &str| focus.is_some_and(|f| f.name == id || f.name == module);
        let mut modules = Vec::new();
        for name in &state.modules {
            let of = state.resources.iter().zip(&all).enumerate();
            let nodes: Vec<Node> = of
                .filter(|(at, (r, _))| r.module == *name && drawn.contains(at))
                .map(|(_, (r, id))| Node {
                    id: id.clone(),
                    name: r.name.clone(),
                    kind: r.kind.clone(),
                    when: r.when.as_ref().map(when_text),
                    focus: is_focus(id, name),
                })
                .collect();
            // a module without resources is drawn where modules as a whole are
            let empty = nodes.is_empty()
                && focus.is_none_or(|f| f.name == &**name)
                && !state.resources.iter().any(|r| r.module == *name);
            if !nodes.is_empty() || empty {
                modules.push(Module { name: name.clone(), nodes });
            }
        }
        let ids: BTreeSet<&str> = modules.iter().flat_map(|m| &m.nodes).map(|n| n.id.as_str()).collect();
        let names: BTreeSet<&str> = modules.iter().map(|m| &*m.name).collect();
        let edges = edges.into_iter().filter(|e| {
            let known = if e.kind == EdgeKind::Module { &names } else { &ids };
            known.contains(e.from.as_str()) && known.contains(e.to.as_str())
        });
        Ok(Graph { edges: edges.collect(), modules, left })
    }

    pub(super) fn json(&self, envoy: &str) -> Json {
        let node = |n: &Node, module: &str| {
            let when = n.when.as_ref().map(|text| json!({ "expr": text }));
            json!({ "id": n.id, "module": module, "name": &*n.name, "type": &*n.kind, "when": when, "focus": n.focus })
        };
        let nodes: Vec<Json> =
            self.modules.iter().flat_map(|m| m.nodes.iter().map(|n| node(n, &m.name))).collect();
        let edges: Vec<Json> =
            self.edges.iter().map(|e| json!({ "from": e.from, "to": e.to, "kind": e.kind.name() })).collect();
        json!({
            "envoy": envoy,
            "modules": self.modules.iter().map(|m| &*m.name).collect::<Vec<_>>(),
            "nodes": nodes,
            "edges": edges,
            "omitted": self.left,
        })
    }
}

fn edge(kind: EdgeKind, from: &str, to: &str) -> Edge {
    Edge { kind, from: from.to_owned(), to: to.to_owned() }
}

/// What has to run before the focus, and what runs after it, the nearest first.
fn near(
    state: &State,
    all: &[String],
    edges: &BTreeSet<Edge>,
    focus: &Focus<'_>,
) -> Result<Vec<usize>, Failure> {
    let places: HashMap<&str, usize> = all.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
    let starts: Vec<usize> = match places.get(focus.name) {
        Some(at) => vec![*at],
        None => (0..all.len())
            .filter(|at| state.resources.get(*at).is_some_and(|r| *r.module == *focus.name))
            .collect(),
    };
    if starts.is_empty() && !state.modules.iter().any(|m| **m == *focus.name) {
        let known = all.iter().map(String::as_str).chain(state.modules.iter().map(|m| &**m));
        let message = format!("this host has neither a resource nor a module `{}`", focus.name);
        return Err(Failure::no_answer(message, suggest(focus.name, known)));
    }
    let mut before: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut after: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for e in edges {
        if let (Some(from), Some(to)) = (places.get(e.from.as_str()), places.get(e.to.as_str())) {
            after.entry(*from).or_default().push(*to);
            before.entry(*to).or_default().push(*from);
        }
    }
    // two walks, so that what merely shares a neighbour with the focus is not drawn
    let mut distance: BTreeMap<usize, usize> = starts.iter().map(|at| (*at, 0)).collect();
    for next in [&before, &after] {
        let mut queue: VecDeque<(usize, usize)> = starts.iter().map(|at| (*at, 0)).collect();
        let mut seen: BTreeSet<usize> = starts.iter().copied().collect();
        while let Some((at, steps)) = queue.pop_front() {
            let known = distance.entry(at).or_insert(steps);
            *known = steps.min(*known);
            if focus.depth.is_some_and(|depth| steps >= depth) {
                continue;
            }
            for to in next.get(&at).into_iter().flatten() {
                if seen.insert(*to) {
                    queue.push_back((*to, steps + 1));
                }
            }
        }
    }
    let mut out: Vec<usize> = distance.keys().copied().collect();
    out.sort_by_key(|at| (distance.get(at).copied(), *at));
    Ok(out)
}
