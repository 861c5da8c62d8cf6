//! What tests reach: modules, resources, and both outcomes of conditions.

use crate::commands::host::Host;
use crate::facts::ClassFacts;
use crate::policy::Policy;
use crate::resolve::index::index;
use crate::resolve::interface::module;
use crate::schema::{Stage, schema};
use crate::syntax::Condition;
use grammar::when::{Expr as When, ExprKind};
use ir::{Budget, Expr, Outcome, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What was reached, by file and by place in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    modules: BTreeSet<Arc<str>>,
    /// Place of the `type:` of the resource.
    resources: BTreeSet<(Arc<str>, u32)>,
    /// Place of the resource's `type:`, or `u32::MAX` for the module's own condition.
    conditions: BTreeSet<(Arc<str>, u32, bool)>,
}

/// What is there, and what of it was reached.
#[derive(Debug, Default)]
pub(super) struct Covered {
    pub(super) modules: Share,
    pub(super) resources: Share,
    /// Outcomes: two for each condition that a test can decide both ways.
    pub(super) conditions: Share,
    /// Sorted by place.
    pub(super) left: Vec<Left>,
}

/// A part of a whole.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    pub(super) reached: usize,
    pub(super) of: usize,
}

impl Share {
    fn count(&mut self, reached: bool) {
        self.of += 1;
        self.reached += usize::from(reached);
    }
}

/// Something that no test reaches.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Left {
    pub(super) file: Arc<str>,
    pub(super) line: usize,
    /// `module`, `resource` or `when`.
    pub(super) kind: &'static str,
    /// A module, or `module.resource`.
    pub(super) name: String,
    /// Of a condition, the outcome that no test has.
    pub(super) never: Option<bool>,
}

const OF_MODULE: u32 = u32::MAX;

impl Coverage {
    /// What one host reaches.
    pub(super) fn of(host: &Host<'_>) -> Coverage {
        let mut out = Coverage::default();
        let facts = host.facts(true);
        for name in &host.resolved.modules {
            let Some(file) = host.module_file(name) else { continue };
            let Some(typed) = host.typed(file) else { continue };
            let path = file.path(host.db);
            if let Some(when) = &typed.when {
                let holds = outcome(&when.expr, &facts);
                out.conditions.insert((path.clone(), OF_MODULE, holds));
                if !holds {
                    continue;
                }
            }
            out.modules.insert(path.clone());
            for r in &typed.resources {
                let items: Vec<Option<Value>> = match &r.foreach {
                    None => vec![None],
                    Some(list) => match ir::eval(&list.expr, &facts, &mut Budget::default()) {
                        Ok(Outcome::Known(Value::List(items))) => items.into_iter().map(Some).collect(),
                        _ => Vec::new(),
                    },
                };
                for item in items {
                    let facts = ClassFacts { item, ..facts.clone() };
                    let holds = r.when.as_ref().map(|when| outcome(&when.expr, &facts));
                    if let Some(holds) = holds {
                        out.conditions.insert((path.clone(), r.span.start, holds));
                    }
                    if holds != Some(false) {
                        out.resources.insert((path.clone(), r.span.start));
                    }
                }
            }
        }
        out
    }

    /// Counts what another test reaches in.
    pub(super) fn add(&mut self, other: Coverage) {
        self.modules.extend(other.modules);
        self.resources.extend(other.resources);
        self.conditions.extend(other.conditions);
    }

    /// Compares with what the policy has.
    pub(super) fn against(&self, policy: &Policy) -> Covered {
        let (db, project) = policy.queries();
        let mut out = Covered::default();
        for file in &index(db, project).module_files {
            let Some(module) = module(db, *file) else { continue };
            let path = file.path(db);
            let text = policy.text(path);
            let line = |at| crate::diagnostic::json::line(text.as_ref(), at);
            let left = |at, kind, name: String, never| Left {
                file: path.clone(),
                line: line(at),
                kind,
                name,
                never,
            };
            let here = self.modules.contains(path);
            out.modules.count(here);
            if !here {
                let name = module.name.text.to_string();
                out.left.push(left(module.name.span.start, "module", name, None));
            }
            if let Some(when) = &module.when {
                self.condition(when, path, OF_MODULE, &mut out, &|never| {
                    left(when.span.start, "when", module.name.text.to_string(), Some(never))
                });
            }
            for r in &module.resources {
                let Some(kind) = &r.kind else { continue };
                let at = kind.span.start;
                let shown = r.name.as_ref().and_then(|n| n.as_text()).map(|t| t.scalar.text.clone());
                let name =
                    format!("{}.{}", module.name.text, shown.unwrap_or_else(|| format!("{}:…", kind.text)));
                let reached = self.resources.contains(&(path.clone(), at));
                out.resources.count(reached);
                // where a whole module is not reached, its name says so
                if !reached && here {
                    out.left.push(left(r.span.start, "resource", name.clone(), None));
                }
                if let Some(when) = &r.when {
                    self.condition(when, path, at, &mut out, &|never| {
                        left(when.span.start, "when", name.clone(), Some(never))
                    });
                }
            }
        }
        out.left.sort();
        out
    }

    fn condition(
        &self,
        when: &Condition,
        path: &Arc<str>,
        at: u32,
        out: &mut Covered,
        left: &dyn Fn(bool) -> Left,
    ) {
        // what only the agent can decide is neither true nor false in a test
        if only_agent(&when.expr) {
            return;
        }
        for outcome in [true, false] {
            let reached = self.conditions.contains(&(path.clone(), at, outcome));
            out.conditions.count(reached);
            if !reached && self.modules.contains(path) {
                out.left.push(left(outcome));
            }
        }
    }
}

/// What is left for the agent holds as far as a test can tell.
fn outcome(when: &Expr, facts: &ClassFacts) -> bool {
    !matches!(ir::eval(when, facts, &mut Budget::default()), Ok(Outcome::Known(Value::Bool(false))))
}

/// Whether nothing in a condition is known before the agent runs.
fn only_agent(e: &When) -> bool {
    match &e.kind {
        ExprKind::Call { name, .. } => {
            schema().functions.get(name.text.as_str()).is_some_and(|f| f.stage == Stage::Converge)
        }
        ExprKind::Not(inner) => only_agent(inner),
        ExprKind::And(a, b) | ExprKind::Or(a, b) => only_agent(a) && only_agent(b),
        _ => false,
    }
}
