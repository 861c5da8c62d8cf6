//! `--module`: the path by which a module came in, or what keeps it out.

use super::{Answer, condition, table};
use crate::commands::failure::Failure;
use crate::commands::host::Host;
use crate::commands::output::place;
use crate::diagnostic::nearest::suggest;
use crate::resolve::class::{commons, entry, environment_layers, roles};
use crate::resolve::index::index;
use crate::syntax::{LayerAst, Name, RoleAst};
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// One step of a path.
struct Step {
    what: String,
    file: Arc<str>,
    line: usize,
}

pub(super) fn explain(host: &Host<'_>, name: &str) -> Result<Answer, Failure> {
    let modules = &index(host.db, host.project).modules;
    let Some(file) = modules.get(name).copied() else {
        let message = format!("there is no module `{name}`");
        return Err(Failure::no_answer(message, suggest(name, modules.keys().map(|k| &**k))));
    };
    let work = Work { host };
    let (given, taken) = (work.steps(name, |l| &l.modules), work.steps(name, |l| &l.exclude_modules));
    let assigned = host.resolved.modules.iter().any(|m| **m == *name);
    let condition = host
        .typed(file)
        .and_then(|m| m.when.as_ref())
        .filter(|_| assigned)
        .map(|when| condition::of(host, when, file.path(host.db), &host.facts(true)));
    let gated = host.linked.gated.iter().any(|m| **m == *name)
        || condition.as_ref().is_some_and(|c| c.json("module")["value"] == Json::Bool(false));
    let (status, said) = match (assigned, gated, taken.is_empty()) {
        (true, true, _) => ("gated", "assigned, but its condition is false".to_owned()),
        (true, false, _) if condition.is_some() => ("assigned", "assigned, under a condition".to_owned()),
        (true, false, _) => ("assigned", "assigned".to_owned()),
        (false, _, false) if !given.is_empty() => ("excluded", "not assigned: it is excluded".to_owned()),
        (false, ..) => ("not-assigned", "not assigned: nothing names it for this host".to_owned()),
    };
    let mut rows = Vec::new();
    let mut show = |title: &str, paths: &[Vec<Step>]| {
        for path in paths {
            for (at, step) in path.iter().enumerate() {
                let title = if at == 0 { format!("  {title}") } else { String::new() };
                rows.push(vec![title, step.what.clone(), format!("{}:{}", step.file, step.line)]);
            }
        }
    };
    show("given by", &given);
    show("excluded by", &taken);
    let elsewhere = if given.is_empty() { work.elsewhere(name) } else { Vec::new() };
    show("would come with", &elsewhere);
    let mut text = format!("module {name}: {said}\n{}", table(&rows));
    if let Some(condition) = &condition {
        text.push_str(&format!("  its condition: {}\n", condition.said()));
        text.push_str(&condition.tree());
    }
    let fields = json!({
        "name": name,
        "status": status,
        "given_by": json_of(&given),
        "excluded_by": json_of(&taken),
        "would_come_with": json_of(&elsewhere),
        "when": condition.map(|c| c.json("module")),
    });
    Ok(Answer { text, fields: vec![("module", fields)] })
}

fn json_of(paths: &[Vec<Step>]) -> Json {
    let step = |s: &Step| {
        let mut out = place(&s.file, s.line);
        out["what"] = s.what.clone().into();
        out
    };
    paths.iter().map(|p| p.iter().map(step).collect::<Vec<_>>()).collect()
}

struct Work<'a> {
    host: &'a Host<'a>,
}

impl<'a> Work<'a> {
    fn step(&self, what: impl Into<String>, file: &Arc<str>, at: u32) -> Step {
        Step { what: what.into(), file: file.clone(), line: self.host.line(file, at) }
    }

    /// Every layer that names a module in one of its lists, in the order in which layers count.
    fn steps(&self, module: &str, list: impl Fn(&LayerAst) -> &Vec<Name>) -> Vec<Vec<Step>> {
        let host = self.host;
        let path = host.class.file(host.db).path(host.db);
        let named = |layer: &LayerAst| list(layer).iter().find(|n| &*n.text == module).map(|n| n.span.start);
        let mut out = Vec::new();
        for (file, layer) in commons(host.db, host.project, path) {
            out.extend(named(layer).map(|at| vec![self.step("common.vgo", file, at)]));
        }
        let (all, roles_file) = roles(host.db, host.project);
        for name in &host.resolved.roles {
            for role in all.iter().filter(|r| r.name.text == *name) {
                if let (Some(at), Some(file)) = (named(&role.layer), roles_file) {
                    let mut steps = vec![self.step(format!("role {name}"), file.path(host.db), at)];
                    steps.extend(self.role(name, all, file.path(host.db)));
                    out.push(steps);
                }
            }
        }
        if let Some(entry) = entry(host.db, host.class) {
            out.extend(named(&entry.layer).map(|at| vec![self.step("node entry", path, at)]));
        }
        if let Some(environment) = &host.resolved.environment {
            for (file, e) in environment_layers(host.db, host.project, path, environment) {
                let what = format!("environment {environment}");
                out.extend(named(&e.layer).map(|at| vec![self.step(what, file, at)]));
            }
        }
        out
    }

    /// How a role came in: who includes it, up to the place that names the outermost.
    fn role(&self, role: &Arc<str>, all: &[RoleAst], file: &Arc<str>) -> Vec<Step> {
        let host = self.host;
        let path = host.class.file(host.db).path(host.db);
        let mut out = Vec::new();
        let mut role = role.clone();
        // a circle of roles ends this too
        for _ in 0..=all.len() {
            for (common, layer) in commons(host.db, host.project, path) {
                if let Some(name) = layer.roles.iter().find(|n| n.text == role) {
                    out.push(self.step(format!("role {role} named in {common}"), common, name.span.start));
                    return out;
                }
            }
            let of_entry = entry(host.db, host.class).map(|e| e.layer.roles.as_slice()).unwrap_or_default();
            if let Some(name) = of_entry.iter().find(|n| n.text == role) {
                out.push(self.step(format!("role {role} named by the node entry"), path, name.span.start));
                return out;
            }
            let including = all
                .iter()
                .filter(|r| host.resolved.roles.contains(&r.name.text))
                .find_map(|r| Some((r, r.includes.iter().find(|n| n.text == role)?)));
            let Some((outer, name)) = including else { return out };
            out.push(self.step(
                format!("role {role} included by {}", outer.name.text),
                file,
                name.span.start,
            ));
            role = outer.name.text.clone();
        }
        out
    }

    /// Roles of the policy that have a module.
    fn elsewhere(&self, module: &str) -> Vec<Vec<Step>> {
        let host = self.host;
        let (all, Some(file)) = roles(host.db, host.project) else { return Vec::new() };
        all.iter()
            .filter_map(|r| Some((r, r.layer.modules.iter().find(|n| &*n.text == module)?)))
            .map(|(r, n)| vec![self.step(format!("role {}", r.name.text), file.path(host.db), n.span.start)])
            .collect()
    }
}
