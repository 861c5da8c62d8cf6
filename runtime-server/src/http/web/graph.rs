//! What comes before what on one envoy, drawn.
//!
//! An arrow leads from what runs first to what runs after it, as `vigoc graph` has it: a plain one where the second depends on
//! the first, a dashed one where the first notifies the second, a thick one where a whole module waits for another. A host
//! with very many resources is drawn by its modules.

use super::html;
use super::show::{self, part};
use crate::http::api::envoys::{Detail, detail};
use crate::http::call::Call;
use crate::http::problem::Problem;
use crate::http::survey::variant_of;
use crate::policy::Variant;
use crate::text::plain;
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use ir::module::Target;
use ir::{Module, wire};
use rust_sugiyama::configure::Config;
use std::collections::{BTreeSet, HashMap};

/// Resources that are drawn one by one.
const MOST: usize = 150;
/// Sizes in pixels.
const HEIGHT: f64 = 38.0;
const LETTER: f64 = 7.4;
const GAP: f64 = 26.0;

#[derive(Template)]
#[template(path = "graph.html")]
struct GraphPage {
    section: &'static str,
    hostname: String,
    envoy_link: String,
    drawing: Option<Drawing>,
    by_modules: bool,
    steps: Vec<Step>,
}

/// A resource in the order they run.
struct Step {
    number: usize,
    name: String,
    kind: String,
    class: &'static str,
    after: String,
    tells: String,
}

/// The whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// In pixels.
    pub width: f64,
    /// In pixels.
    pub height: f64,
    /// Boxes.
    pub boxes: Vec<Tile>,
    /// Arrows.
    pub arrows: Vec<Arrow>,
}

/// A resource, or a module.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// From left to right.
    pub width: f64,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// The class of its colour: what became of it in the last run.
    pub class: &'static str,
}

/// From what runs first.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrow {
    /// `depends`, `notify` or `module`.
    pub class: &'static str,
    /// Its way.
    pub path: String,
}

/// What is drawn: boxes in the order they run, and arrows between them.
#[derive(Clone, Debug, Default, PartialEq)]
struct Graph {
    /// Name and kind.
    nodes: Vec<(String, String)>,
    edges: BTreeSet<(u32, u32, Edge)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    Depends,
    Notify,
    Module,
}

/// Modules as they run; one that does not read back is left out.
fn modules(variant: &Variant) -> Vec<Module> {
    let order = variant.run_order.iter().filter_map(|at| variant.modules.get(*at as usize));
    order.filter_map(|m| wire::decode_module(&m.bytes).ok()).collect()
}

impl Graph {
    fn of_resources(modules: &[Module]) -> Graph {
        let mut graph = Graph::default();
        let mut numbers: HashMap<(&str, &str), u32> = HashMap::new();
        for module in modules {
            for resource in &module.resources {
                numbers.insert((&module.name, &resource.name), graph.nodes.len() as u32);
                graph.nodes.push((format!("{}.{}", module.name, resource.name), resource.kind.to_string()));
            }
        }
        for module in modules {
            let find = |target: &Target| match target {
                Target::Local(at) => module
                    .resources
                    .get(*at as usize)
                    .and_then(|r| numbers.get(&(&*module.name, &*r.name)).copied()),
                Target::Other { module, resource } => numbers.get(&(&**module, &**resource)).copied(),
            };
            let own = |name: &str| numbers.get(&(&*module.name, name)).copied();
            for resource in &module.resources {
                let Some(this) = own(&resource.name) else { continue };
                let told: Vec<u32> = resource.notify.iter().filter_map(find).collect();
                graph.edges.extend(told.iter().map(|to| (this, *to, Edge::Notify)));
                let first = resource.depends_on.iter().filter_map(find);
                graph.edges.extend(first.map(|from| (from, this, Edge::Depends)));
            }
            // From the last of the one to the first of the other.
            let head = module.resources.first().and_then(|r| own(&r.name));
            for first in modules.iter().filter(|m| module.depends_on.contains(&m.name)) {
                let tail = first.resources.last().and_then(|r| numbers.get(&(&*first.name, &*r.name)));
                graph.edges.extend(tail.zip(head).map(|(from, to)| (*from, to, Edge::Module)));
            }
        }
        // Who notifies comes first anyway: one arrow says it.
        let all = graph.edges.clone();
        graph
            .edges
            .retain(|(from, to, kind)| *kind != Edge::Depends || !all.contains(&(*from, *to, Edge::Notify)));
        graph
    }

    fn of_modules(modules: &[Module]) -> Graph {
        let number = |name: &str| modules.iter().position(|m| &*m.name == name).map(|n| n as u32);
        let mut graph = Graph::default();
        for (at, module) in (0..).zip(modules) {
            graph.nodes.push((module.name.to_string(), format!("{} resources", module.resources.len())));
            let waits = module.depends_on.iter().filter_map(|name| number(name));
            graph.edges.extend(waits.map(|from| (from, at, Edge::Module)));
            for target in module.resources.iter().flat_map(|r| &r.notify) {
                if let Target::Other { module, .. } = target
                    && let Some(to) = number(module)
                {
                    graph.edges.insert((at, to, Edge::Notify));
                }
            }
        }
        graph
    }

    /// Boxes in layers from left to right. Blocks.
    fn draw(&self, class: impl Fn(&str) -> &'static str) -> Drawing {
        let width = |(name, kind): &(String, String)| {
            let letters = name.chars().count().max(kind.chars().count()).min(60);
            letters as f64 * LETTER + 24.0
        };
        // The layers of the library run downwards; ours to the right: height and width change places.
        let sizes: Vec<(u32, (f64, f64))> =
            (0..).zip(&self.nodes).map(|(n, node)| (n, (HEIGHT, width(node)))).collect();
        let mut between: Vec<(u32, u32)> =
            self.edges.iter().filter(|(a, b, _)| a < b).map(|(a, b, _)| (*a, *b)).collect();
        between.dedup();
        let config = Config { vertex_spacing: GAP, ..Config::default() };
        let mut parts = rust_sugiyama::from_vertices_and_edges(&sizes, &between, &config);
        parts.sort_by_key(|(places, _, _)| places.iter().map(|(n, _)| *n).min());
        let mut places: HashMap<usize, (f64, f64)> = HashMap::new();
        let (mut top, mut right) = (GAP / 2.0, 0.0_f64);
        for (part, _, _) in parts {
            let least =
                |f: fn(&(f64, f64)) -> f64| part.iter().map(|(_, at)| f(at)).fold(f64::INFINITY, f64::min);
            let (first_x, first_y) = (least(|at| at.1), least(|at| at.0));
            let mut bottom = top;
            for (n, (across, along)) in &part {
                let (x, y) = (along - first_x + GAP / 2.0, across - first_y + top);
                places.insert(*n, (x, y));
                bottom = bottom.max(y + HEIGHT);
                right = right.max(x + self.nodes.get(*n).map_or(0.0, width));
            }
            top = bottom + GAP;
        }
        let place = |n: u32| places.get(&(n as usize)).copied().unwrap_or_default();
        let boxes = (0..).zip(&self.nodes).map(|(n, node)| {
            let (x, y) = place(n);
            Tile {
                x,
                y,
                width: width(node),
                name: plain(&node.0, 60),
                kind: plain(&node.1, 60),
                class: class(&node.0),
            }
        });
        let arrows = self.edges.iter().filter_map(|(from, to, kind)| {
            let ((x, y), (to_x, to_y)) = (place(*from), place(*to));
            let start = x + self.nodes.get(*from as usize).map(width)?;
            let (y, to_y, bend) = (y + HEIGHT / 2.0, to_y + HEIGHT / 2.0, ((to_x - start) / 2.0).max(GAP));
            Some(Arrow {
                class: match kind {
                    Edge::Depends => "depends",
                    Edge::Notify => "notify",
                    Edge::Module => "module",
                },
                path: format!(
                    "M{start:.1} {y:.1}C{:.1} {y:.1} {:.1} {to_y:.1} {:.1} {to_y:.1}",
                    start + bend,
                    to_x - bend,
                    to_x - 2.0
                ),
            })
        });
        Drawing { boxes: boxes.collect(), arrows: arrows.collect(), width: right + GAP, height: top }
    }

    fn steps(&self, class: impl Fn(&str) -> &'static str) -> Vec<Step> {
        let name = |n: &u32| self.nodes.get(*n as usize).map(|node| plain(&node.0, 100)).unwrap_or_default();
        let list = |names: Vec<String>| names.join(", ");
        (0..)
            .zip(&self.nodes)
            .map(|(n, node)| Step {
                number: n as usize + 1,
                name: plain(&node.0, 100),
                kind: plain(&node.1, 60),
                class: class(&node.0),
                after: list(
                    self.edges
                        .iter()
                        .filter(|(_, to, kind)| *to == n && *kind != Edge::Notify)
                        .map(|e| name(&e.0))
                        .collect(),
                ),
                tells: list(
                    self.edges
                        .iter()
                        .filter(|(from, _, kind)| *from == n && *kind == Edge::Notify)
                        .map(|e| name(&e.1))
                        .collect(),
                ),
            })
            .collect()
    }
}

pub(in crate::http) async fn page(call: Call) -> Result<Response, Problem> {
    let Detail { envoy, results, .. } = detail(&call, 1).await?;
    let hostname = envoy.hostname.clone();
    let (context, id) = (call.site.context.clone(), envoy.id);
    let built = tokio::task::spawn_blocking(move || {
        let modules = variant_of(&context, &id).map(|variant| modules(&variant)).unwrap_or_default();
        let by_modules = modules.iter().map(|m| m.resources.len()).sum::<usize>() > MOST;
        let graph = if by_modules { Graph::of_modules(&modules) } else { Graph::of_resources(&modules) };
        (graph, by_modules)
    });
    let (graph, by_modules) = built.await.map_err(|e| {
        tracing::error!(error = %e, "reading the modules of an envoy crashed");
        Problem::internal()
    })?;
    let outcomes: HashMap<String, &'static str> = results
        .iter()
        .map(|r| (format!("{}.{}", r.module, r.resource), show::outcome(&r.outcome).class))
        .collect();
    let steps = graph.steps(|name| outcomes.get(name).copied().unwrap_or("idle"));
    let drawn =
        tokio::task::spawn_blocking(move || graph.draw(|name| outcomes.get(name).copied().unwrap_or("idle")));
    // A graph that the library cannot lay out is still a list.
    let drawing = drawn.await.ok().filter(|drawing| !drawing.boxes.is_empty());
    let page = GraphPage {
        section: "fleet",
        envoy_link: format!("/envoys/{}", part(&hostname)),
        hostname: plain(&hostname, 253),
        drawing,
        by_modules,
        steps,
    };
    html(StatusCode::OK, &page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::Resource;
    use std::sync::Arc;

    fn resource(name: &str, depends_on: &[u32], notify: &[Target]) -> Resource {
        Resource {
            name: name.into(),
            kind: "file".into(),
            when: None,
            attributes: vec![],
            depends_on: depends_on.iter().map(|at| Target::Local(*at)).collect(),
            notify: notify.to_vec(),
        }
    }

    fn example() -> Vec<Module> {
        let module = |name: &str, depends_on: &[&str], resources| Module {
            name: name.into(),
            depends_on: depends_on.iter().map(|name| Arc::from(*name)).collect(),
            resources,
        };
        let reload = Target::Other { module: "nginx".into(), resource: "reload".into() };
        vec![
            module("base", &[], vec![resource("etc", &[], &[])]),
            module(
                "nginx",
                &["base"],
                vec![
                    resource("package", &[], &[]),
                    resource("config", &[0], std::slice::from_ref(&reload)),
                    resource("reload", &[1], &[]),
                ],
            ),
            module("lonely", &[], vec![resource("x", &[], &[])]),
        ]
    }

    #[test]
    fn arrows_lead_from_what_runs_first() {
        let graph = Graph::of_resources(&example());
        let edges: Vec<_> = graph.edges.iter().copied().collect();
        assert_eq!(edges, [(0, 1, Edge::Module), (1, 2, Edge::Depends), (2, 3, Edge::Notify)]);
        let modules = Graph::of_modules(&example());
        assert_eq!(modules.nodes[1], ("nginx".to_owned(), "3 resources".to_owned()));
        assert_eq!(modules.edges.len(), 2);
    }

    #[test]
    fn boxes_do_not_lie_on_each_other_and_stand_in_layers() {
        for modules in [example(), many()] {
            let graph = Graph::of_resources(&modules);
            let drawing = graph.draw(|_| "good");
            assert_eq!(drawing, graph.draw(|_| "good"), "the same picture each time");
            assert_eq!(drawing.boxes.len(), graph.nodes.len());
            for (at, a) in drawing.boxes.iter().enumerate() {
                assert!(a.x >= 0.0 && a.y >= 0.0 && a.x + a.width <= drawing.width, "{a:?}");
                assert!(a.y + HEIGHT <= drawing.height, "{a:?}");
                for b in &drawing.boxes[at + 1..] {
                    let apart = a.x + a.width <= b.x
                        || b.x + b.width <= a.x
                        || a.y + HEIGHT <= b.y
                        || b.y + HEIGHT <= a.y;
                    assert!(apart, "{a:?} {b:?}");
                }
            }
            for (from, to, _) in &graph.edges {
                let (from, to) = (&drawing.boxes[*from as usize], &drawing.boxes[*to as usize]);
                assert!(from.x + from.width <= to.x, "{from:?} {to:?}");
            }
        }
    }

    /// A ladder with rungs, and a fan.
    fn many() -> Vec<Module> {
        let resources = (0..MOST as u32).map(|n| {
            let before: Vec<u32> = [n.checked_sub(1), n.checked_sub(7), (n > 90).then_some(3)]
                .into_iter()
                .flatten()
                .filter(|_| n % 5 != 0)
                .collect();
            resource(&format!("resource-{n}"), &before, &[])
        });
        vec![Module { name: "m".into(), depends_on: vec![], resources: resources.collect() }]
    }

    #[test]
    fn an_envoy_without_policy_has_an_empty_picture() {
        let drawing = Graph::default().draw(|_| "good");
        assert!(drawing.boxes.is_empty() && drawing.arrows.is_empty());
    }
}
