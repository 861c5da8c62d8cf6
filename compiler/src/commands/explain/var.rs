//! `--var`: every layer of a variable, and which one wins.

use super::{Answer, table};
use crate::commands::failure::Failure;
use crate::commands::host::Host;
use crate::commands::output::{place, short};
use crate::commands::residual::{value_json, value_text};
use crate::diagnostic::nearest::suggest;
use crate::resolve::class::entry;
use crate::resolve::layers::{Origin, Step, StepState};
use crate::resolve::vars::{VarValue, Variable, all_variables, module_variable};
use ir::Value;
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// What a layer does to the result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The result is its value.
    Wins,
    /// The result is its value unless a condition that is not known turns out true.
    Otherwise,
    /// A map that later maps were merged into, or that was merged into earlier ones.
    Merged,
    /// A later layer replaces it.
    Hidden,
    /// Its condition is false.
    Skipped,
    /// Its condition is not known.
    Undecided,
}

impl Effect {
    const ALL: [Effect; 6] =
        [Effect::Wins, Effect::Otherwise, Effect::Merged, Effect::Hidden, Effect::Skipped, Effect::Undecided];

    fn name(self) -> &'static str {
        match self {
            Effect::Wins => "wins",
            Effect::Otherwise => "otherwise",
            Effect::Merged => "merged",
            Effect::Hidden => "hidden",
            Effect::Skipped => "skipped",
            Effect::Undecided => "undecided",
        }
    }

    fn said(self) -> &'static str {
        match self {
            Effect::Wins => "wins",
            Effect::Otherwise => "otherwise",
            Effect::Merged => "merged",
            Effect::Hidden => "",
            Effect::Skipped => "condition is false",
            Effect::Undecided => "condition is not known",
        }
    }
}

/// Every effect, by name.
pub(in crate::commands) fn effects() -> [&'static str; 6] {
    Effect::ALL.map(Effect::name)
}

/// What [`kind`] gives, the weakest layer first.
pub(in crate::commands) const LAYERS: [&str; 8] =
    ["module", "role", "common", "entry", "environment", "environment_overrides", "conditional_vars", "test"];

pub(super) fn explain(host: &Host<'_>, name: &str) -> Result<Answer, Failure> {
    let Some(variable) = host.vars.by_name.get(name) else { return Err(none(host, name)) };
    let effects = effects_of(variable);
    let declared = declared(host, name, variable);
    let value = match &variable.value {
        VarValue::Set(value) => value_text(value),
        VarValue::Unset => "not set".into(),
        VarValue::Undecided => "not known without more traits".into(),
    };
    let said = declared.as_ref().map(|(file, line)| format!(", declared {file}:{line}")).unwrap_or_default();
    let mut rows = Vec::new();
    let mut layers = Vec::new();
    for (step, effect) in variable.steps.iter().zip(effects) {
        let (file, line) = step_place(host, name, step);
        let origin = origin(host, step);
        let shown =
            if *step.value == Value::Null { "un-set".into() } else { short(&value_text(&step.value), 44) };
        let mark = if effect == Effect::Wins { "◀ " } else { "  " };
        rows.push(vec![
            format!("  {shown}"),
            format!("{mark}{origin}"),
            format!("{file}:{line}"),
            effect.said().to_owned(),
        ]);
        layers.push(json!({
            "origin": origin,
            "kind": kind(&step.origin),
            "file": &*file,
            "line": line,
            "value": value_json(&step.value),
            "effect": effect.name(),
            "wins": effect == Effect::Wins,
        }));
    }
    let head = vec![vec![format!("{name} = {value}"), format!("{}{said}", variable.ty)]];
    let set = match &variable.value {
        VarValue::Set(value) => value_json(value),
        _ => Json::Null,
    };
    let fields = json!({
        "name": name,
        "type": variable.ty.to_string(),
        "state": match variable.value {
            VarValue::Set(_) => "set",
            VarValue::Unset => "unset",
            VarValue::Undecided => "undecided",
        },
        "value": set,
        "declared": declared.map(|(file, line)| place(&file, line)),
        "layers": layers,
    });
    Ok(Answer { text: table(&head) + &table(&rows), fields: vec![("var", fields)] })
}

fn none(host: &Host<'_>, name: &str) -> Failure {
    let all = all_variables(host.db, host.project);
    let message = format!("nothing sets a variable `{name}` for `{}`", host.name);
    let help = if all.contains_key(name) {
        Some("other entries or modules have it; `vigoc resolve` shows what this host has".to_owned())
    } else {
        suggest(name, host.vars.by_name.keys().map(|k| &**k))
    };
    Failure::no_answer(message, help)
}

/// The last layer that counts wins; maps merge with the maps before them.
fn effects_of(variable: &Variable) -> Vec<Effect> {
    let mut out: Vec<Effect> = Vec::with_capacity(variable.steps.len());
    let mut open = true;
    let mut winner = None;
    for step in variable.steps.iter().rev() {
        let effect = match step.state {
            StepState::Skipped => Effect::Skipped,
            StepState::Undecided => Effect::Undecided,
            StepState::Applied if !open => Effect::Hidden,
            StepState::Applied => {
                let map = matches!(*step.value, Value::Map(_));
                let first = winner.is_none();
                winner.get_or_insert(map);
                // what is below a scalar, a list or a null does not count
                let merges = winner == Some(true) && map;
                open = merges;
                match (first, merges) {
                    (true, _) if variable.value == VarValue::Undecided => Effect::Otherwise,
                    (true, _) => Effect::Wins,
                    (false, true) => Effect::Merged,
                    (false, false) => Effect::Hidden,
                }
            }
        };
        out.push(effect);
    }
    out.reverse();
    out
}

fn declared(host: &Host<'_>, name: &str, variable: &Variable) -> Option<(Arc<str>, usize)> {
    let file = host.module_file(variable.declared.as_ref()?)?;
    let at = module_variable(host.db, file, name)?;
    let line = host.line(&at.file, at.span.start);
    Some((at.file, line))
}

fn step_place(host: &Host<'_>, name: &str, step: &Step) -> (Arc<str>, usize) {
    let at = match (&step.span, &step.origin) {
        (Some(span), _) => span.start,
        (None, Origin::Module(module)) => host
            .module_file(module)
            .and_then(|file| module_variable(host.db, file, name))
            .map_or(0, |place| place.span.start),
        (None, _) => 0,
    };
    (step.file.clone(), host.line(&step.file, at))
}

fn origin(host: &Host<'_>, step: &Step) -> String {
    match &step.origin {
        Origin::Conditional(at) => {
            let condition = entry(host.db, host.class).and_then(|e| e.conditional.get(*at));
            let text = condition.map_or("", |(c, _)| c.scalar.text.trim());
            format!("conditional_vars, when {text}")
        }
        other => other.to_string(),
    }
}

fn kind(origin: &Origin) -> &'static str {
    match origin {
        Origin::Module(_) => "module",
        Origin::Role(_) => "role",
        Origin::Common => "common",
        Origin::Entry => "entry",
        Origin::Environment(_) => "environment",
        Origin::Override(_) => "environment_overrides",
        Origin::Conditional(_) => "conditional_vars",
        Origin::Test => "test",
    }
}
