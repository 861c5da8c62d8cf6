//! `common.vgo` and `environments.vgo`: what a directory adds to its node entries.

use super::fields::{Fields, check_name, names};
use super::text::Syn;
use super::{Name, Variables};
use crate::diagnostic::Sink;
use crate::diagnostic::codes::TEMPLATE_IN_VARIABLE;
use grammar::document::{Node, Value};
use std::sync::Arc;

/// What a place adds: a `common.vgo`, one environment of an `environments.vgo`, a role, an entry.
#[derive(Debug, Default)]
pub struct LayerAst {
    /// Roles.
    pub roles: Vec<Name>,
    /// Modules.
    pub modules: Vec<Name>,
    /// Modules that are taken out again.
    pub exclude_modules: Vec<Name>,
    /// Variables.
    pub vars: Variables,
}

/// One environment of an `environments.vgo`.
#[derive(Debug)]
pub struct EnvironmentAst {
    /// Its name.
    pub name: Name,
    /// What it adds; no roles.
    pub layer: LayerAst,
}

impl LayerAst {
    /// Takes the keys that layers share.
    pub fn take(fields: &mut Fields<'_>, sink: &mut Sink) -> LayerAst {
        let layer = LayerAst::take_without_roles(fields, sink);
        let roles = fields.take("roles").map(|e| names(e.value, "`roles:`", true, sink)).unwrap_or_default();
        LayerAst { roles, ..layer }
    }

    fn take_without_roles(fields: &mut Fields<'_>, sink: &mut Sink) -> LayerAst {
        let mut list = |key: &str, sink: &mut Sink| {
            let older: &[&str] = if key == "modules" { &["configcrates"] } else { &[] };
            fields
                .take_older(key, older, sink)
                .map(|e| names(e.value, &format!("`{key}:`"), true, sink))
                .unwrap_or_default()
        };
        LayerAst {
            roles: Vec::new(),
            modules: list("modules", sink),
            exclude_modules: list("exclude_modules", sink),
            vars: fields.take("vars").map(|e| variables(e.value, "`vars:`", sink)).unwrap_or_default(),
        }
    }
}

/// Keys of a `common.vgo`.
pub const COMMON_KEYS: [&str; 4] = ["modules", "exclude_modules", "roles", "vars"];
/// Keys of one environment.
pub const ENVIRONMENT_KEYS: [&str; 3] = ["modules", "exclude_modules", "vars"];

/// Reads a `common.vgo`.
pub fn read_common(root: Node, sink: &mut Sink) -> LayerAst {
    let Some(mut fields) = Fields::of(root, "common.vgo", &COMMON_KEYS, sink) else {
        return LayerAst::default();
    };
    let layer = LayerAst::take(&mut fields, sink);
    fields.finish(sink);
    layer
}

/// Reads an `environments.vgo`.
pub fn read_environments(root: Node, sink: &mut Sink) -> Vec<EnvironmentAst> {
    let Some(mut fields) = Fields::of(root, "environments.vgo", &["env"], sink) else { return Vec::new() };
    let all = fields.take("env");
    fields.finish(sink);
    let Some(all) = all else { return Vec::new() };
    let Some(fields) = Fields::of(all.value, "`env:`", &[], sink) else { return Vec::new() };
    let mut out = Vec::new();
    for entry in fields.rest() {
        let name = Name { text: Arc::from(entry.key.text), span: entry.key.span };
        if !check_name(&name, "the name of an environment", sink) {
            continue;
        }
        if let Some(mut fields) = Fields::of(entry.value, "an environment", &ENVIRONMENT_KEYS, sink) {
            let layer = LayerAst::take_without_roles(&mut fields, sink);
            fields.finish(sink);
            out.push(EnvironmentAst { name, layer });
        }
    }
    out
}

/// Reads a map of variables.
pub fn variables(node: Node, what: &str, sink: &mut Sink) -> Variables {
    let Some(fields) = Fields::of(node, what, &[], sink) else { return Vec::new() };
    let mut out = Vec::new();
    for entry in fields.rest() {
        let name = Name { text: Arc::from(entry.key.text), span: entry.key.span };
        if check_name(&name, "the name of a variable", sink) {
            warn_templates(&entry.value, sink);
            out.push((name, Syn::new(entry.value, false, sink)));
        }
    }
    out
}

fn warn_templates(node: &Node, sink: &mut Sink) {
    match &node.value {
        Value::Scalar(s) if s.text.contains("{{") => {
            let finding = sink
                .say(&TEMPLATE_IN_VARIABLE, node.span, "text in a variable is not a template")
                .label("`{{` stays as it is")
                .help("move the template to the attribute that uses the variable");
            sink.push(finding);
        }
        Value::Seq(items) => items.iter().for_each(|n| warn_templates(n, sink)),
        Value::Map(entries) => entries.iter().for_each(|e| warn_templates(&e.value, sink)),
        _ => {}
    }
}
