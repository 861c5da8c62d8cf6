//! Documents that `vigoc` prints. Each object is closed: a field that the schema does not have is not printed, which the
//! tests hold against what every command really prints.

mod check;
mod doc;
mod host;
mod inspect;
mod names;
mod plan;
mod test;

pub(super) use check::{check, check_lines};
pub(super) use doc::doc;
pub(super) use host::{eval, explain, graph, resolve};
pub(super) use inspect::inspect;
pub(super) use names::{rdeps, rule, search};
pub(super) use plan::plan;
pub(super) use test::test;

use super::super::output::FORMAT_VERSION;
use super::{described, object};
use crate::diagnostic::Severity;
use crate::diagnostic::codes::slugs;
use serde_json::{Map, Value as Json, json};

/// A key and what stands behind it.
type Field = (&'static str, Json);

/// Parts of a schema that others refer to by name.
type Defs = Map<String, Json>;

/// Closed: what is not here is not printed; what is required is always there.
fn closed(required: &[Field], optional: &[Field]) -> Json {
    let all = || required.iter().chain(optional);
    let keys: Vec<&str> = all().map(|(key, _)| *key).collect();
    let needed: Vec<&str> = required.iter().map(|(key, _)| *key).collect();
    object(&keys, &needed, |key| all().find(|(k, _)| *k == key).map_or(json!({}), |(_, s)| s.clone()))
}

fn string() -> Json {
    json!({ "type": "string" })
}

fn strings() -> Json {
    json!({ "type": "array", "items": { "type": "string" } })
}

fn maybe_string() -> Json {
    json!({ "type": ["string", "null"] })
}

fn boolean() -> Json {
    json!({ "type": "boolean" })
}

fn count() -> Json {
    json!({ "type": "integer", "minimum": 0 })
}

fn from_one() -> Json {
    json!({ "type": "integer", "minimum": 1 })
}

fn any() -> Json {
    json!({})
}

fn one_of(names: &[&str]) -> Json {
    json!({ "enum": names })
}

/// A SHA-256.
fn hash() -> Json {
    json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
}

fn maybe(schema: Json) -> Json {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

fn array(items: Json) -> Json {
    json!({ "type": "array", "items": items })
}

/// By names of the policy.
fn map(values: Json) -> Json {
    json!({ "type": "object", "additionalProperties": values })
}

fn list(of: &str) -> Json {
    array(reference(of))
}

fn reference(to: &str) -> Json {
    json!({ "$ref": format!("#/$defs/{to}") })
}

/// A file and a line of it, with more behind.
fn placed(fields: &[Field]) -> Json {
    let place = [("file", string()), ("line", from_one())];
    closed(&place.iter().chain(fields).cloned().collect::<Vec<_>>(), &[])
}

/// What stands before everything else.
fn head(command: &str) -> Vec<Field> {
    vec![
        (
            "format_version",
            described("Of this form; a new first number breaks readers.", json!({ "const": FORMAT_VERSION })),
        ),
        ("command", json!({ "const": command })),
        ("tool_version", described("Of vigoc.", string())),
    ]
}

/// An answer of a command.
fn answer(command: &str, required: &[Field], optional: &[Field]) -> Json {
    let required: Vec<Field> = head(command).into_iter().chain(required.iter().cloned()).collect();
    closed(&required, optional)
}

/// What the documents of a command look like: one of its answers, or why there is none.
fn document<const N: usize>(command: &str, answers: [Json; N], more: Defs) -> Json {
    let mut defs = findings();
    defs.extend(more);
    defs.insert("failure".into(), failure(command));
    let answer = match answers.into_iter().collect::<Vec<_>>() {
        mut one if one.len() == 1 => one.remove(0),
        several => json!({ "oneOf": several }),
    };
    defs.insert("answer".into(), answer);
    json!({
        "$defs": defs,
        "if": { "required": ["error"] },
        "then": reference("failure"),
        "else": reference("answer"),
    })
}

/// Why a command has no answer.
fn failure(command: &str) -> Json {
    let error = closed(
        &[("message", string()), ("exit", described("The exit code.", json!({ "type": "integer" })))],
        &[],
    );
    let fields: Vec<Field> = head(command).into_iter().chain([("error", error)]).collect();
    closed(&fields, &[("diagnostics", list("diagnostic"))])
}

/// What findings are made of.
fn findings() -> Defs {
    let position =
        closed(&[("line", from_one()), ("column", described("In characters, from 1.", from_one()))], &[]);
    let span = closed(&[("start", reference("position")), ("end", reference("position"))], &[]);
    let label = closed(&[("file", string()), ("span", reference("span")), ("text", string())], &[]);
    let fix = closed(
        &[
            ("file", string()),
            ("span", reference("span")),
            ("replacement", string()),
            ("guess", described("Whether the author may have meant something else.", boolean())),
        ],
        &[],
    );
    let mut out = Map::new();
    out.insert("position".into(), position);
    out.insert("span".into(), span);
    out.insert("label".into(), label);
    out.insert("fix".into(), fix);
    let codes: Vec<&str> = slugs().map(|(slug, ..)| slug).collect();
    let code = described("The slug; `vigoc rule` explains it.", one_of(&codes));
    out.insert("diagnostic".into(), closed(&finding(code), &[]));
    out
}

/// The fields of a finding, with these codes.
fn finding(code: Json) -> Vec<Field> {
    let severities = [Severity::Error, Severity::Warning, Severity::Hint].map(Severity::name);
    vec![
        ("code", code),
        ("severity", one_of(&severities)),
        ("message", string()),
        ("help", maybe_string()),
        ("file", string()),
        ("span", reference("span")),
        ("labels", list("label")),
        ("fixes", list("fix")),
        ("classes", described("Classes of hosts that have it, where not all do.", strings())),
        ("fingerprint", described("Stays when lines move.", string())),
    ]
}

/// A condition of which something is left for the host.
fn condition() -> Json {
    maybe(closed(&[("expr", described("What only the agent can finish.", string()))], &[]))
}

/// Attributes of a resource.
fn attributes() -> Json {
    described(
        "By name. `{\"expr\": ...}` is what only the agent can finish, `{\"secret\": ...}` the path of a secret.",
        map(any()),
    )
}

/// What a resource has besides its name, in every document.
fn resource_fields() -> Vec<Field> {
    vec![
        ("name", string()),
        ("type", string()),
        ("when", condition()),
        ("attributes", attributes()),
        ("depends_on", strings()),
        ("notify", strings()),
    ]
}
