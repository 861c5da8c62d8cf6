//! What `vigoc check` prints.

use super::{
    Defs, answer, array, closed, count, described, document, failure, finding, findings, head, list, one_of,
    reference, string,
};
use serde_json::{Value as Json, json};

const COMMAND: &str = "check";

/// `--format json`
pub(in super::super) fn check() -> Json {
    let mut defs = Defs::new();
    let mut fields = finding(string());
    fields.push(("suppressed_by", one_of(&["comment", "baseline"])));
    defs.insert("suppressed".into(), closed(&fields, &[("reason", string())]));
    let gone = closed(
        &[("code", string()), ("file", string()), ("message", string()), ("fingerprint", string())],
        &[],
    );
    let fields = [
        ("diagnostics", list("diagnostic")),
        ("suppressed", described("Allowed by a comment, or known to the baseline.", list("suppressed"))),
        ("baseline_gone", described("In the baseline, and not found.", array(gone))),
        ("summary", summary()),
    ];
    document(COMMAND, [answer(COMMAND, &fields, &[])], defs)
}

/// A line of `--format ndjson`: a finding, or at last the summary.
pub(in super::super) fn check_lines() -> Json {
    let mut defs = findings();
    defs.insert("failure".into(), failure(COMMAND));
    let last: Vec<_> = head(COMMAND).into_iter().chain([("summary", summary())]).collect();
    defs.insert("last".into(), closed(&last, &[]));
    json!({
        "$defs": defs,
        "if": { "required": ["error"] },
        "then": reference("failure"),
        "else": {
            "if": { "required": ["summary"] },
            "then": reference("last"),
            "else": reference("diagnostic"),
        },
    })
}

fn summary() -> Json {
    let counts = ["errors", "warnings", "hints", "allowed", "known", "files", "modules", "classes"];
    closed(&counts.map(|name| (name, count())), &[])
}
