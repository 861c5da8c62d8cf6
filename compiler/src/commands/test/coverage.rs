//! What tests reach: node entries, modules, resources, both outcomes of conditions, and the branches of `case:`.

use crate::commands::explain::chosen_branch;
use crate::commands::host::Host;
use crate::facts::ClassFacts;
use crate::policy::Policy;
use crate::resolve::class::{entries, entry};
use crate::resolve::index::index;
use crate::resolve::interface::module;
use crate::resolve::layers::{Origin, StepState};
use crate::schema::{Stage, schema};
use crate::syntax::Condition;
use grammar::when::{Expr as When, ExprKind};
use ir::{Budget, Expr, Outcome, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was reached, by file and by place in it, and by how many tests.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    /// Place of the entry.
    entries: BTreeMap<(Arc<str>, u32), usize>,
    modules: BTreeMap<Arc<str>, usize>,
    /// Place of the `type:` of the resource.
    resources: BTreeMap<(Arc<str>, u32), usize>,
    /// Place of the resource's `type:`, or [`OF_MODULE`]; of `conditional_vars`, of the condition.
    conditions: BTreeMap<(Arc<str>, u32, bool), usize>,
    /// Place of the resource's `type:`, and of the label.
    branches: BTreeMap<(Arc<str>, u32, u32), usize>,
}

/// What is there, and what of it was reached.
#[derive(Debug, Default)]
pub(super) struct Covered {
    pub(super) entries: Share,
    pub(super) modules: Share,
    pub(super) resources: Share,
    /// Outcomes: two for each condition that a test can decide both ways.
    pub(super) conditions: Share,
    /// Labels of `match:`.
    pub(super) branches: Share,
    /// Sorted by place.
    pub(super) left: Vec<Left>,
    /// By path.
    pub(super) files: BTreeMap<Arc<str>, File>,
}

/// The coverage of a file.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Lines on which an entry, a module or a resource begins, and how many tests reach it.
    pub(super) lines: BTreeMap<usize, usize>,
    pub(super) decisions: Vec<Decision>,
}

/// A condition, or the `case:` of a resource.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) line: usize,
    /// How many tests take each way; of a condition, true comes first.
    pub(super) taken: Vec<usize>,
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
    /// `entry`, `module`, `resource`, `when` or `case`.
    pub(super) kind: &'static str,
    /// The first pattern of an entry, a module, or `module.resource`.
    pub(super) name: String,
    /// Of a condition, the outcome that no test has.
    pub(super) never: Option<bool>,
    /// Of a `case:`, the label that no test takes.
    pub(super) branch: Option<String>,
}

const OF_MODULE: u32 = u32::MAX;

impl Coverage {
    /// What one host reaches.
    pub(super) fn of(host: &Host<'_>) -> Coverage {
        let mut out = Coverage::default();
        out.entry(host);
        let facts = host.facts(true);
        for name in &host.resolved.modules {
            let Some(file) = host.module_file(name) else { continue };
            let Some(typed) = host.typed(file) else { continue };
            let path = file.path(host.db);
            if let Some(when) = &typed.when {
                let holds = outcome(&when.expr, &facts);
                out.conditions.insert((path.clone(), OF_MODULE, holds), 1);
                if !holds {
                    continue;
                }
            }
            out.modules.insert(path.clone(), 1);
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
                        out.conditions.insert((path.clone(), r.span.start, holds), 1);
                    }
                    if holds == Some(false) {
                        continue;
                    }
                    out.resources.insert((path.clone(), r.span.start), 1);
                    if let Some((label, _)) = chosen_branch(r, &facts) {
                        out.branches.insert((path.clone(), r.span.start, label.span.start), 1);
                    }
                }
            }
        }
        out
    }

    /// The entry of a host, and what its `conditional_vars` came to.
    fn entry(&mut self, host: &Host<'_>) {
        let Some(entry) = entry(host.db, host.class) else { return };
        let path = host.class.file(host.db).path(host.db);
        self.entries.insert((path.clone(), entry.span.start), 1);
        for step in host.vars.by_name.values().flat_map(|v| &v.steps) {
            let Origin::Conditional(number) = step.origin else { continue };
            let Some((condition, _)) = entry.conditional.get(number) else { continue };
            let holds = match step.state {
                StepState::Applied => true,
                StepState::Skipped => false,
                StepState::Undecided => continue,
            };
            self.conditions.insert((path.clone(), condition.span.start, holds), 1);
        }
    }

    /// Counts what another test reaches in.
    pub(super) fn add(&mut self, other: Coverage) {
        count(&mut self.entries, other.entries);
        count(&mut self.modules, other.modules);
        count(&mut self.resources, other.resources);
        count(&mut self.conditions, other.conditions);
        count(&mut self.branches, other.branches);
    }

    /// Compares with what the policy has.
    pub(super) fn against(&self, policy: &Policy) -> Covered {
        let (db, project) = policy.queries();
        let mut out = Covered::default();
        self.against_entries(policy, &mut out);
        for file in &index(db, project).module_files {
            let Some(module) = module(db, *file) else { continue };
            let path = file.path(db);
            let text = policy.text(path);
            let line = |at| crate::diagnostic::json::line(text.as_ref(), at);
            let left = |at, kind, name: &str| Left {
                file: path.clone(),
                line: line(at),
                kind,
                name: name.to_owned(),
                never: None,
                branch: None,
            };
            let mut seen = File::default();
            let here = self.modules.get(path).copied().unwrap_or(0);
            out.modules.count(here > 0);
            seen.lines.insert(line(module.name.span.start), here);
            if here == 0 {
                out.left.push(left(module.name.span.start, "module", &module.name.text));
            }
            let condition = |when: &Condition, at: u32, name: &str, out: &mut Covered, seen: &mut File| {
                // what only the agent can decide is neither true nor false in a test
                if only_agent(&when.expr) {
                    return;
                }
                let found = left(when.span.start, "when", name);
                // where a whole module is not reached, its name says so
                seen.decisions.push(self.decision(path, at, found, here > 0, out));
            };
            if let Some(when) = &module.when {
                condition(when, OF_MODULE, &module.name.text, &mut out, &mut seen);
            }
            for r in &module.resources {
                let Some(kind) = &r.kind else { continue };
                let at = kind.span.start;
                let shown = r.name.as_ref().and_then(|n| n.as_text()).map(|t| t.scalar.text.clone());
                let name =
                    format!("{}.{}", module.name.text, shown.unwrap_or_else(|| format!("{}:…", kind.text)));
                let reached = self.resources.get(&(path.clone(), at)).copied().unwrap_or(0);
                out.resources.count(reached > 0);
                let count = seen.lines.entry(line(r.span.start)).or_default();
                *count = reached.max(*count);
                if reached == 0 && here > 0 {
                    out.left.push(left(r.span.start, "resource", &name));
                }
                if let Some(when) = &r.when {
                    condition(when, at, &name, &mut out, &mut seen);
                }
                let mut taken = Vec::with_capacity(r.branches.len());
                for (label, _) in &r.branches {
                    let place = label.span.start;
                    let count = self.branches.get(&(path.clone(), at, place)).copied().unwrap_or(0);
                    out.branches.count(count > 0);
                    taken.push(count);
                    if count == 0 && reached > 0 {
                        let branch = Some(label.text.to_string());
                        out.left.push(Left { branch, ..left(place, "case", &name) });
                    }
                }
                if let Some(case) = r.case.as_ref().filter(|_| !taken.is_empty()) {
                    seen.decisions.push(Decision { line: line(case.span.start), taken });
                }
            }
            out.files.insert(path.clone(), seen);
        }
        out.left.sort();
        out
    }

    fn against_entries(&self, policy: &Policy, out: &mut Covered) {
        let (db, project) = policy.queries();
        for file in &index(db, project).nodes {
            let path = file.path(db);
            let text = policy.text(path);
            let mut seen = File::default();
            for entry in entries(db, *file) {
                let name = entry.patterns.first().map(|(name, _)| name.text.to_string()).unwrap_or_default();
                let left = |at, kind, name: String| {
                    let line = crate::diagnostic::json::line(text.as_ref(), at);
                    Left { file: path.clone(), line, kind, name, never: None, branch: None }
                };
                let found = left(entry.span.start, "entry", name.clone());
                let here = self.entries.get(&(path.clone(), entry.span.start)).copied().unwrap_or(0);
                out.entries.count(here > 0);
                *seen.lines.entry(found.line).or_default() += here;
                if here == 0 {
                    out.left.push(found);
                }
                for (condition, _) in &entry.conditional {
                    let at = condition.span.start;
                    let found = left(at, "when", format!("conditional_vars of {name}"));
                    seen.decisions.push(self.decision(path, at, found, here > 0, out));
                }
            }
            out.files.insert(path.clone(), seen);
        }
    }

    /// Counts the outcomes of a condition; those that no test has are `left`, when `listed`.
    fn decision(&self, path: &Arc<str>, at: u32, left: Left, listed: bool, out: &mut Covered) -> Decision {
        let taken = [true, false]
            .map(|outcome| self.conditions.get(&(path.clone(), at, outcome)).copied().unwrap_or(0));
        let line = left.line;
        for (outcome, taken) in [true, false].into_iter().zip(taken) {
            out.conditions.count(taken > 0);
            if taken == 0 && listed {
                let Left { file, name, .. } = &left;
                let (file, name) = (file.clone(), name.clone());
                out.left.push(Left { file, line, kind: left.kind, name, never: Some(outcome), branch: None });
            }
        }
        Decision { line, taken: taken.into() }
    }
}

/// Counts what another test reaches in.
fn count<K: Ord>(all: &mut BTreeMap<K, usize>, more: BTreeMap<K, usize>) {
    for (key, n) in more {
        *all.entry(key).or_default() += n;
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
