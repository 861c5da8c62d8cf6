//! Values and what is left of expressions, as text and as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ir::unparse::{template_text, when_text};
use ir::{Expr, Value};
use serde_json::{Map, Value as Json, json};
use std::sync::Arc;

/// A value as JSON: a secret is named, never shown.
pub(super) fn value_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(i) => (*i).into(),
        Value::Float(f) => json!(f.get()),
        Value::Str(s) => (**s).into(),
        Value::Bytes(b) => json!({ "base64": STANDARD.encode(b) }),
        Value::Secret(path) => json!({ "secret": &**path }),
        Value::List(items) => items.iter().map(value_json).collect(),
        Value::Map(map) => Json::Object(map.iter().map(|(k, v)| (k.to_string(), value_json(v))).collect()),
    }
}

/// An attribute as JSON: what only the agent can finish is `{"expr": ...}` in template syntax.
pub(super) fn attribute_json(expr: &Expr) -> Json {
    match expr {
        Expr::Const(value) => value_json(value),
        Expr::List(items) => items.iter().map(attribute_json).collect(),
        Expr::Map(entries) => {
            Json::Object(entries.iter().map(|(k, e)| (k.to_string(), attribute_json(e))).collect())
        }
        other => json!({ "expr": template_text(other) }),
    }
}

/// A condition as JSON.
pub(super) fn condition_json(when: Option<&Expr>) -> Json {
    when.map_or(Json::Null, |e| json!({ "expr": when_text(e) }))
}

/// A resource, as every document has it.
pub(super) struct Shown<'a> {
    pub(super) name: &'a str,
    pub(super) kind: &'a str,
    pub(super) when: Option<&'a Expr>,
    pub(super) attributes: &'a [(Arc<str>, Expr)],
    /// `module.name`
    pub(super) depends_on: Vec<&'a str>,
    /// `module.name`
    pub(super) notify: Vec<&'a str>,
}

impl Shown<'_> {
    /// Its fields.
    pub(super) fn json(&self) -> Json {
        let attributes: Map<String, Json> =
            self.attributes.iter().map(|(name, value)| (name.to_string(), attribute_json(value))).collect();
        json!({
            "name": self.name,
            "type": self.kind,
            "when": condition_json(self.when),
            "attributes": attributes,
            "depends_on": self.depends_on,
            "notify": self.notify,
        })
    }
}

/// A value on one line, for people.
pub fn value_text(value: &Value) -> String {
    match value {
        Value::Secret(path) => format!("secret:{path}"),
        Value::Bytes(b) => format!("{} bytes", b.len()),
        Value::List(items) => {
            format!("[{}]", items.iter().map(value_text).collect::<Vec<_>>().join(", "))
        }
        Value::Map(map) if map.is_empty() => "{}".into(),
        Value::Map(map) => {
            let entries: Vec<String> = map.iter().map(|(k, v)| format!("{k}: {}", value_text(v))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Str(s) if is_plain(s) => s.to_string(),
        other => value_json(other).to_string(),
    }
}

/// An attribute on one line, for people.
pub(super) fn attribute_text(expr: &Expr) -> String {
    match expr {
        Expr::Const(value) => value_text(value),
        Expr::List(items) => {
            format!("[{}]", items.iter().map(attribute_text).collect::<Vec<_>>().join(", "))
        }
        Expr::Map(entries) => {
            let entries = entries.iter().map(|(k, e)| format!("{k}: {}", attribute_text(e)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        other => Json::from(template_text(other)).to_string(),
    }
}

/// Text that reads as text without quotes.
fn is_plain(text: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || "/._-@%+~".contains(c);
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || "/._~".contains(c))
        && chars.all(|c| word(c) || c == ' ' || c == ':')
        && !matches!(text, "true" | "false" | "null")
        && !text.ends_with([' ', ':'])
}
