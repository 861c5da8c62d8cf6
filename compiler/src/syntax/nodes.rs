//! Node entries: which hosts get what. The first entry that matches wins.

use super::condition::Condition;
use super::fields::{Fields, check_name, name, names, wrong_kind};
use super::layers::{LayerAst, variables};
use super::{Name, Variables};
use crate::diagnostic::Sink;
use crate::diagnostic::codes::INVALID_GLOB;
use crate::resolve::glob::HostGlob;
use grammar::Span;
use grammar::document::{Node, Value};
use std::sync::Arc;

/// One node entry.
#[derive(Debug)]
pub struct EntryAst {
    /// The whole entry.
    pub span: Span,
    /// Its patterns.
    pub patterns: Vec<(Name, Arc<HostGlob>)>,
    /// Its environment.
    pub environment: Option<Name>,
    /// Roles, modules, exclusions and variables.
    pub layer: LayerAst,
    /// Variables by environment.
    pub overrides: Vec<(Name, Variables)>,
    /// Variables under a condition.
    pub conditional: Vec<(Condition, Variables)>,
}

/// Keys of a node entry.
pub const KEYS: [&str; 8] = [
    "match",
    "environment",
    "roles",
    "modules",
    "exclude_modules",
    "vars",
    "environment_overrides",
    "conditional_vars",
];

/// Keys of an item of `conditional_vars:`; both are needed.
pub const CONDITIONAL_KEYS: [&str; 2] = ["when", "vars"];

/// Reads a file of node entries.
pub fn read(root: Node, sink: &mut Sink) -> Vec<EntryAst> {
    if matches!(root.value, Value::Null) {
        return Vec::new();
    }
    let Some(mut fields) = Fields::of(root, "a file of node entries", &["nodes"], sink) else {
        return Vec::new();
    };
    let list = fields.take_older("nodes", &["envoys"], sink);
    fields.finish(sink);
    let Some(list) = list else { return Vec::new() };
    match list.value.value {
        Value::Seq(items) => items.into_iter().filter_map(|n| entry(n, sink)).collect(),
        Value::Null => Vec::new(),
        other => {
            wrong_kind(sink, list.value.span, "`nodes:`", "a list of node entries", &other);
            Vec::new()
        }
    }
}

fn entry(node: Node, sink: &mut Sink) -> Option<EntryAst> {
    let span = node.span;
    let mut fields = Fields::of(node, "a node entry", &KEYS, sink)?;
    let patterns = match fields.need("match", sink) {
        Some(e) => names(e.value, "`match:`", false, sink),
        None => Vec::new(),
    };
    let patterns = patterns
        .into_iter()
        .filter_map(|p| match HostGlob::new(&p.text) {
            Ok(glob) => Some((p, Arc::new(glob))),
            Err(why) => {
                let finding = sink
                    .say(&INVALID_GLOB, p.span, format!("`{}` is not a pattern: {why}", p.text))
                    .label("cannot be matched")
                    .help("patterns have `*`, `?`, `[a-z]`, `[!a]` and `{a,b}`");
                sink.push(finding);
                None
            }
        })
        .collect();
    let environment =
        fields.take("environment").and_then(|e| name(&e.value, "the name of an environment", sink));
    let layer = LayerAst::take(&mut fields, sink);
    let overrides =
        fields.take("environment_overrides").map(|e| overrides(e.value, sink)).unwrap_or_default();
    let conditional = fields.take("conditional_vars").map(|e| conditional(e.value, sink)).unwrap_or_default();
    fields.finish(sink);
    Some(EntryAst { span, patterns, environment, layer, overrides, conditional })
}

fn overrides(node: Node, sink: &mut Sink) -> Vec<(Name, Variables)> {
    let Some(fields) = Fields::of(node, "`environment_overrides:`", &[], sink) else { return Vec::new() };
    let mut out = Vec::new();
    for e in fields.rest() {
        let name = Name { text: Arc::from(e.key.text), span: e.key.span };
        if check_name(&name, "the name of an environment", sink) {
            out.push((name, variables(e.value, "the overrides of an environment", sink)));
        }
    }
    out
}

fn conditional(node: Node, sink: &mut Sink) -> Vec<(Condition, Variables)> {
    let items = match node.value {
        Value::Seq(items) => items,
        Value::Null => Vec::new(),
        other => {
            wrong_kind(sink, node.span, "`conditional_vars:`", "a list of `when:` and `vars:`", &other);
            Vec::new()
        }
    };
    let mut out = Vec::new();
    for item in items {
        let Some(mut fields) = Fields::of(item, "an item of `conditional_vars:`", &CONDITIONAL_KEYS, sink)
        else {
            continue;
        };
        let when = fields.need("when", sink).and_then(|e| Condition::read(e.value, sink));
        let vars = fields.need("vars", sink).map(|e| variables(e.value, "`vars:`", sink));
        fields.finish(sink);
        if let (Some(when), Some(vars)) = (when, vars) {
            out.push((when, vars));
        }
    }
    out
}
