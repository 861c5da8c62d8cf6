//! Which traits have to be given before a variable, a `foreach` or a `case` is decided.

use super::host::Host;
use crate::diagnostic::{Place, Sink};
use crate::expr::{Lowered, Scope, when};
use crate::facts::ClassFacts;
use crate::resolve::class::entry;
use crate::resolve::layers::{Origin, StepState};
use crate::resolve::vars::{VarValue, shared_traits};
use crate::schema::Stage;
use crate::specialise::typed::NameForm;
use ir::{Budget, Expr, Outcome, Root};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Something that is not decided.
pub(super) struct Need {
    /// For people.
    pub(super) what: String,
    /// `file:line`
    pub(super) place: String,
    /// Traits that would decide it.
    pub(super) traits: BTreeSet<Arc<str>>,
}

/// Everything about a host that is not decided without more shared traits.
pub(super) fn needs(host: &Host<'_>) -> Vec<Need> {
    let facts = host.facts(false);
    let mut out = Vec::new();
    for (name, variable) in &host.vars.by_name {
        if variable.value != VarValue::Undecided {
            continue;
        }
        let mut traits = BTreeSet::new();
        of_variable(host, name, &facts, &mut traits);
        let step = variable.steps.iter().rfind(|s| s.state == StepState::Undecided);
        let place = step.map_or_else(String::new, |s| place(host, &s.file, s.span.map_or(0, |s| s.start)));
        out.push(Need { what: format!("the variable `{name}`"), place, traits });
    }
    for (at, what) in &host.linked.undecided {
        let mut traits = BTreeSet::new();
        if let Some(lowered) = expression(host, at) {
            of_expression(host, &lowered.expr, &facts, &mut traits);
        }
        out.push(Need { what: what.clone(), place: place(host, &at.file, at.span.start), traits });
    }
    for need in out.iter_mut().filter(|n| n.traits.is_empty()) {
        // the reason is not to be found; any of these may be it
        need.traits = host.missing_traits().into_iter().collect();
    }
    out
}

fn place(host: &Host<'_>, file: &str, at: u32) -> String {
    format!("{file}:{}", host.line(file, at))
}

/// The expression of a `foreach`, `case` or name that stands at a place.
fn expression<'a>(host: &Host<'a>, at: &Place) -> Option<&'a Lowered> {
    let module = host
        .resolved
        .modules
        .iter()
        .filter_map(|m| host.module_file(m))
        .find(|file| *file.path(host.db) == at.file)?;
    host.typed(module)?.resources.iter().find_map(|r| {
        let name = match &r.name {
            NameForm::Template(lowered) => Some(&**lowered),
            _ => None,
        };
        [r.foreach.as_deref(), r.case.as_deref(), name]
            .into_iter()
            .flatten()
            .find(|l| l.spans.span == at.span)
    })
}

fn of_expression(host: &Host<'_>, expr: &Expr, facts: &ClassFacts, out: &mut BTreeSet<Arc<str>>) {
    let Ok(Outcome::Residual(left)) = ir::eval(expr, facts, &mut Budget::default()) else { return };
    shared_traits(&left, out);
    left.walk(&mut |e| {
        if let Expr::Path(Root::Vars, steps) = e
            && let Some(name) = steps.first()
        {
            of_variable(host, name, facts, out);
        }
    });
}

/// Traits that the undecided conditions over a variable look at.
fn of_variable(host: &Host<'_>, name: &str, facts: &ClassFacts, out: &mut BTreeSet<Arc<str>>) {
    let Some(variable) = host.vars.by_name.get(name) else { return };
    let Some(entry) = entry(host.db, host.class) else { return };
    for step in variable.steps.iter().filter(|s| s.state == StepState::Undecided) {
        let Origin::Conditional(at) = step.origin else { continue };
        let Some((condition, _)) = entry.conditional.get(at) else { continue };
        let types = host.vars.types();
        let scope = Scope {
            vars: &types,
            module: None,
            item: None,
            stage: Stage::Specialise,
            place: "a condition of `conditional_vars`",
            changed: false,
        };
        let lowered = when::lower(condition, &scope, &mut Sink::new(step.file.clone()));
        if let Ok(Outcome::Residual(left)) = ir::eval(&lowered.expr, facts, &mut Budget::default()) {
            shared_traits(&left, out);
        }
    }
}
