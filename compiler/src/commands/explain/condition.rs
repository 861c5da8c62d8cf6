//! `--when`: a condition, part by part.

use super::{Answer, resource, table};
use crate::commands::failure::Failure;
use crate::commands::host::Host;
use crate::commands::output::place;
use crate::commands::residual::{value_json, value_text};
use crate::expr::{Lowered, Spans};
use crate::facts::ClassFacts;
use crate::resolve::vars::shared_traits;
use ir::{Budget, Expr, Outcome};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A part of a condition.
pub(super) struct Part {
    depth: usize,
    text: String,
    /// For people.
    said: String,
    /// `null` when it is not known.
    value: Json,
}

/// A condition with its parts; the first part is the whole.
pub(super) struct Condition {
    pub(super) parts: Vec<Part>,
    file: Arc<str>,
    line: usize,
}

pub(super) fn explain(host: &Host<'_>, name: &str) -> Result<Answer, Failure> {
    let mut all = Vec::new();
    let (module, resource) = match name.split_once('.') {
        Some((module, resource)) => (module, Some(resource)),
        None => (name, None),
    };
    let found = resource::assigned(host, module)?;
    if let Some(when) = &found.typed.when {
        all.push(("module", of(host, when, &found.path, &host.facts(true))));
    }
    if let Some(resource) = resource {
        let (r, facts) = found.resource(host, resource)?;
        if let Some(when) = &r.when {
            all.push(("resource", of(host, when, &found.path, &facts)));
        }
    }
    let mut text = String::new();
    for (of, condition) in &all {
        let what = match *of {
            "module" => format!("module {module}"),
            _ => name.to_owned(),
        };
        text.push_str(&condition.text(&what));
    }
    if all.is_empty() {
        text = format!("{name} has no condition: it always applies\n");
    }
    let fields: Vec<Json> = all.iter().map(|(of, c)| c.json(of)).collect();
    Ok(Answer { text, fields: vec![("when", json!({ "name": name, "conditions": fields }))] })
}

/// Takes a condition apart.
pub(super) fn of(host: &Host<'_>, when: &Lowered, file: &Arc<str>, facts: &ClassFacts) -> Condition {
    let source = host.policy.text(file).unwrap_or_default();
    let mut parts = Vec::new();
    part(&when.expr, &when.spans, 0, &source, facts, &mut parts);
    Condition { parts, file: file.clone(), line: host.line(file, when.spans.span.start) }
}

impl Condition {
    /// What the whole is.
    pub(super) fn said(&self) -> &str {
        self.parts.first().map_or("", |p| &p.said)
    }

    /// With a title.
    pub(super) fn text(&self, what: &str) -> String {
        let place = format!("{}:{}", self.file, self.line);
        format!("{what}: {}   {place}\n{}", self.said(), self.tree())
    }

    /// Parts with their values.
    pub(super) fn tree(&self) -> String {
        let row = |p: &Part| vec![format!("  {}{}", "  ".repeat(p.depth), p.text), p.said.clone()];
        table(&self.parts.iter().map(row).collect::<Vec<_>>())
    }

    pub(super) fn json(&self, of: &str) -> Json {
        let parts: Vec<Json> = self
            .parts
            .iter()
            .map(|p| json!({ "expr": p.text, "depth": p.depth, "value": p.value, "said": p.said }))
            .collect();
        let mut out = place(&self.file, self.line);
        out["of"] = of.into();
        out["value"] = self.parts.first().map_or(Json::Null, |p| p.value.clone());
        out["parts"] = parts.into();
        out
    }
}

fn part(expr: &Expr, spans: &Spans, depth: usize, source: &str, facts: &ClassFacts, out: &mut Vec<Part>) {
    let written = source.get(spans.span.range()).unwrap_or_default();
    let text = written.split_whitespace().collect::<Vec<_>>().join(" ");
    let (said, value) = match ir::eval(expr, facts, &mut Budget::default()) {
        Ok(Outcome::Known(value)) => (value_text(&value), value_json(&value)),
        Ok(Outcome::Residual(left)) => (unknown(&left), Json::Null),
        Err(e) => (e.to_string(), Json::Null),
    };
    out.push(Part { depth, text, said, value });
    let mut below = Vec::new();
    children(expr, spans, &mut below);
    for (child, spans) in below.into_iter().filter(|(e, _)| !matches!(e, Expr::Const(_))) {
        part(child, spans, depth + 1, source, facts, out);
    }
}

/// Direct parts; a chain of one operator is one level.
fn children<'a>(expr: &'a Expr, spans: &'a Spans, out: &mut Vec<(&'a Expr, &'a Spans)>) {
    let parts: Vec<&Expr> = match expr {
        Expr::And(a, b) | Expr::Or(a, b) | Expr::Compare(_, a, b) => vec![a, b],
        Expr::Not(e) => vec![e],
        Expr::Call(_, args) | Expr::List(args) => args.iter().collect(),
        _ => Vec::new(),
    };
    for (part, spans) in parts.into_iter().zip(&spans.children) {
        let chain = matches!((expr, part), (Expr::And(..), Expr::And(..)) | (Expr::Or(..), Expr::Or(..)));
        if chain {
            children(part, spans, out);
        } else {
            out.push((part, spans));
        }
    }
}

/// Why something has no value yet.
fn unknown(left: &Expr) -> String {
    let mut traits = BTreeSet::new();
    shared_traits(left, &mut traits);
    let names: Vec<&str> = traits.iter().map(|t| &**t).collect();
    match names[..] {
        [] => "not known before the host".into(),
        _ => format!("not known without {}", names.join(", ")),
    }
}
