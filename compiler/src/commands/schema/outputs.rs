//! Documents that `vigoc` prints.

use super::super::output::FORMAT_VERSION;
use super::{described, object};
use crate::diagnostic::Severity;
use crate::diagnostic::codes::slugs;
use serde_json::{Map, Value as Json, json};

/// Closed: what is not here is not printed; what is required is always there.
fn closed(required: &[(&str, Json)], optional: &[(&str, Json)]) -> Json {
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

fn count() -> Json {
    json!({ "type": "integer", "minimum": 0 })
}

fn from_one() -> Json {
    json!({ "type": "integer", "minimum": 1 })
}

fn list(of: &str) -> Json {
    json!({ "type": "array", "items": reference(of) })
}

fn reference(to: &str) -> Json {
    json!({ "$ref": format!("#/$defs/{to}") })
}

/// What the documents of a command look like: its answer, or why there is none.
fn document(command: &str, answer: &[(&str, Json)], mut defs: Map<String, Json>) -> Json {
    let head = [
        (
            "format_version",
            described("Of this form; a new first number breaks readers.", json!({ "const": FORMAT_VERSION })),
        ),
        ("command", json!({ "const": command })),
        ("tool_version", described("Of vigoc.", string())),
    ];
    let error = closed(
        &[("message", string()), ("exit", described("The exit code.", json!({ "type": "integer" })))],
        &[],
    );
    let failure: Vec<_> = head.iter().cloned().chain([("error", error)]).collect();
    defs.insert("failure".into(), closed(&failure, &[("diagnostics", list("diagnostic"))]));
    let answer: Vec<_> = head.iter().chain(answer).cloned().collect();
    defs.insert("answer".into(), closed(&answer, &[]));
    json!({
        "$defs": defs,
        "if": { "required": ["error"] },
        "then": reference("failure"),
        "else": reference("answer"),
    })
}

/// What findings are made of.
fn findings() -> Map<String, Json> {
    let position =
        closed(&[("line", from_one()), ("column", described("In characters, from 1.", from_one()))], &[]);
    let span = closed(&[("start", reference("position")), ("end", reference("position"))], &[]);
    let label = closed(&[("file", string()), ("span", reference("span")), ("text", string())], &[]);
    let fix = closed(
        &[
            ("file", string()),
            ("span", reference("span")),
            ("replacement", string()),
            (
                "guess",
                described("Whether the author may have meant something else.", json!({ "type": "boolean" })),
            ),
        ],
        &[],
    );
    let severities = [Severity::Error, Severity::Warning, Severity::Hint].map(Severity::name);
    let codes: Vec<&str> = slugs().map(|(slug, ..)| slug).collect();
    let fields = [
        ("code", described("The slug; `vigoc rule` explains it.", json!({ "enum": codes }))),
        ("severity", json!({ "enum": severities })),
        ("message", string()),
        ("help", maybe_string()),
        ("file", string()),
        ("span", reference("span")),
        ("labels", list("label")),
        ("fixes", list("fix")),
        ("classes", described("Classes of hosts that have it, where not all do.", strings())),
        ("fingerprint", described("Stays when lines move.", string())),
    ];
    let suppressed: Vec<_> = fields
        .iter()
        .cloned()
        .chain([("suppressed_by", json!({ "enum": ["comment", "baseline"] }))])
        .collect();
    let mut out = Map::new();
    out.insert("position".into(), position);
    out.insert("span".into(), span);
    out.insert("label".into(), label);
    out.insert("fix".into(), fix);
    out.insert("diagnostic".into(), closed(&fields, &[]));
    out.insert("suppressed".into(), closed(&suppressed, &[("reason", string())]));
    out
}

pub(super) fn check() -> Json {
    let gone = closed(
        &[("code", string()), ("file", string()), ("message", string()), ("fingerprint", string())],
        &[],
    );
    let counts = ["errors", "warnings", "hints", "allowed", "known", "files", "modules", "classes"];
    let counts = counts.map(|name| (name, count()));
    let answer = [
        ("diagnostics", list("diagnostic")),
        ("suppressed", described("Allowed by a comment, or known to the baseline.", list("suppressed"))),
        (
            "baseline_gone",
            described("In the baseline, and not found.", json!({ "type": "array", "items": gone })),
        ),
        ("summary", closed(&counts, &[])),
    ];
    document("check", &answer, findings())
}

pub(super) fn resolve() -> Json {
    let expression = closed(&[("expr", described("What only the agent can finish.", string()))], &[]);
    let resource = closed(
        &[
            ("module", string()),
            ("name", string()),
            ("type", string()),
            ("when", json!({ "anyOf": [expression, { "type": "null" }] })),
            (
                "attributes",
                described(
                    "By name. `{\"expr\": ...}` is what only the agent can finish, `{\"secret\": ...}` the path of a secret.",
                    json!({ "type": "object" }),
                ),
            ),
            ("depends_on", strings()),
            ("notify", strings()),
        ],
        &[],
    );
    let mut defs = findings();
    defs.insert("resource".into(), resource);
    let answer = [
        ("envoy", string()),
        ("entry", closed(&[("file", string()), ("line", from_one())], &[])),
        ("environment", maybe_string()),
        ("roles", strings()),
        ("modules", described("In run order.", strings())),
        ("vars", json!({ "type": "object" })),
        ("merkle_root", json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })),
        ("footprint", described("Shared traits that the result depends on.", strings())),
        ("resources", described("In run order.", list("resource"))),
    ];
    document("resolve", &answer, defs)
}
