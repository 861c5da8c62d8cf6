//! What commands about names print: where they are used, what has them, what kinds of findings there are.

use super::{
    Defs, answer, array, closed, described, document, from_one, json, maybe_string, one_of, placed, string,
};
use crate::diagnostic::Severity;
use crate::uses::Of;
use serde_json::Value as Json;

pub(in super::super) fn rdeps() -> Json {
    let of = Of::ALL.map(Of::name);
    let row = placed(&[
        ("kind", described("What it is the name of.", one_of(&of))),
        ("name", described("As it stands there; a reference may be a pattern.", string())),
        ("how", described("Such as `declared`, `set`, `read` or `notified`.", string())),
        ("by", described("What it is used by.", string())),
    ]);
    let fields = [("name", string()), ("uses", array(row))];
    document("rdeps", [answer("rdeps", &fields, &[])], Defs::new())
}

pub(in super::super) fn search() -> Json {
    let kinds: Vec<&str> = Of::ALL.map(Of::name).into_iter().chain(["entry", "type", "function"]).collect();
    let hit = closed(
        &[
            ("kind", one_of(&kinds)),
            ("name", string()),
            ("doc", string()),
            ("file", described("`null`: it is part of the standard library.", maybe_string())),
            ("line", json!({ "anyOf": [from_one(), { "type": "null" }] })),
        ],
        &[],
    );
    let fields = [("query", string()), ("found", array(hit))];
    document("search", [answer("search", &fields, &[])], Defs::new())
}

pub(in super::super) fn rule() -> Json {
    let severities = [Severity::Error, Severity::Warning, Severity::Hint].map(Severity::name);
    let page = closed(
        &[
            ("code", string()),
            ("severity", one_of(&severities)),
            ("summary", string()),
            ("markdown", described("The whole page, with examples.", string())),
        ],
        &[],
    );
    document("rule", [answer("rule", &[("rules", array(page))], &[])], Defs::new())
}
