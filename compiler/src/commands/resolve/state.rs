//! What a host gets: the modules of its class, finished as far as one host can be known.

use crate::commands::host::Host;
use crate::facts::ClassFacts;
use crate::specialise::instances::FarEnds;
use ir::{Budget, Expr, Outcome, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The desired state of a host.
#[derive(Debug)]
pub(in crate::commands) struct State {
    /// In run order.
    pub(in crate::commands) modules: Vec<Arc<str>>,
    /// In run order.
    pub(in crate::commands) resources: Vec<Resource>,
}

/// One resource.
#[derive(Debug)]
pub(in crate::commands) struct Resource {
    pub(in crate::commands) module: Arc<str>,
    pub(in crate::commands) name: Arc<str>,
    pub(in crate::commands) kind: Arc<str>,
    /// What is left of its condition.
    pub(in crate::commands) when: Option<Expr>,
    /// Those that were written, by name.
    pub(in crate::commands) attributes: Vec<(Arc<str>, Expr)>,
    /// `module.name`, in run order.
    pub(in crate::commands) depends_on: Vec<String>,
    /// `module.name`, in run order.
    pub(in crate::commands) notify: Vec<String>,
}

impl State {
    /// The state of a host; `full` counts host traits in.
    pub(in crate::commands) fn of(host: &Host<'_>, full: bool) -> State {
        let facts = host.facts(full);
        let mut budget = Budget::default();
        let mut out = State { modules: Vec::new(), resources: Vec::new() };
        for module in &host.linked.modules {
            if full && gated(host, module.file, &facts, &mut budget) {
                continue;
            }
            out.modules.push(module.name.clone());
            let specialised = host.specialised(module.file);
            let local = |at: &usize| {
                let name = &specialised.instances.get(*at)?.name;
                Some(format!("{}.{name}", module.name))
            };
            let all = specialised.instances.iter().enumerate();
            for (at, instance) in all.filter(|(_, i)| !i.dropped) {
                let when = match specialised.when(instance).as_deref() {
                    None => None,
                    Some(expr) => match folded(expr, &facts, &mut budget) {
                        Expr::Const(Value::Bool(false)) => continue,
                        Expr::Const(Value::Bool(true)) => None,
                        left => Some(left),
                    },
                };
                let attributes = instance
                    .attributes
                    .iter()
                    .map(|(name, expr)| (name.clone(), folded(expr, &facts, &mut budget)))
                    .collect();
                let edges = |own: &[Vec<usize>], others: &BTreeMap<usize, FarEnds>| {
                    let others = others.get(&at).into_iter().flatten().map(|(m, r)| format!("{m}.{r}"));
                    let own = own.get(at).into_iter().flatten();
                    own.filter_map(local).chain(others).collect::<Vec<String>>()
                };
                out.resources.push(Resource {
                    module: module.name.clone(),
                    name: instance.name.clone(),
                    kind: instance.kind.clone(),
                    when,
                    attributes,
                    depends_on: edges(&specialised.shape.depends_on, &module.extra.depends_on),
                    notify: edges(&specialised.shape.notify, &module.extra.notify),
                });
            }
        }
        out.tidy_edges();
        out
    }

    /// Edges go with the resource that drops out; the rest stands once, in run order.
    fn tidy_edges(&mut self) {
        let place: BTreeMap<String, usize> =
            self.resources.iter().enumerate().map(|(at, r)| (r.full_name(), at)).collect();
        for r in &mut self.resources {
            for list in [&mut r.depends_on, &mut r.notify] {
                let known: BTreeSet<(usize, String)> =
                    list.drain(..).filter_map(|name| Some((*place.get(&name)?, name))).collect();
                list.extend(known.into_iter().map(|(_, name)| name));
            }
        }
    }
}

impl Resource {
    /// `module.name`
    pub(in crate::commands) fn full_name(&self) -> String {
        format!("{}.{}", self.module, self.name)
    }
}

/// Whether the condition of a module is known to be false.
fn gated(host: &Host<'_>, file: crate::db::SourceFile, facts: &ClassFacts, budget: &mut Budget) -> bool {
    let when = host.typed(file).and_then(|m| m.when.as_ref());
    when.is_some_and(|w| folded(&w.expr, facts, budget) == Expr::Const(Value::Bool(false)))
}

/// What is left of an expression. One that fails stays as it is: the agent will say so.
fn folded(expr: &Expr, facts: &ClassFacts, budget: &mut Budget) -> Expr {
    match expr {
        Expr::Const(_) => expr.clone(),
        // parts of a list that are known need no expression around them
        Expr::List(items) => constant(items.iter().map(|e| folded(e, facts, budget)).collect()),
        Expr::Map(entries) => {
            let entries: Vec<(Arc<str>, Expr)> =
                entries.iter().map(|(key, e)| (key.clone(), folded(e, facts, budget))).collect();
            let known = entries.iter().map(|(key, e)| Some((key.clone(), e.as_const()?.clone()))).collect();
            match known {
                Some(known) => Expr::Const(Value::Map(known)),
                None => Expr::Map(entries),
            }
        }
        _ => match ir::eval(expr, facts, budget) {
            Ok(Outcome::Known(value)) => Expr::Const(value),
            Ok(Outcome::Residual(left)) => left,
            Err(_) => expr.clone(),
        },
    }
}

fn constant(items: Vec<Expr>) -> Expr {
    let known: Option<Vec<Value>> = items.iter().map(|e| e.as_const().cloned()).collect();
    known.map_or_else(|| Expr::List(items), |values| Expr::Const(Value::List(values)))
}
