//! What `vigoc plan` prints.

use super::{
    Defs, Field, answer, any, array, boolean, closed, condition, count, described, document, from_one, hash,
    json, list, maybe, maybe_string, one_of, resource_fields, string, strings,
};
use crate::plan::Status;
use serde_json::Value as Json;

pub(in super::super) fn plan() -> Json {
    let statuses = Status::ALL.map(Status::name);
    let counted: Vec<String> = statuses.iter().map(|name| name.replace('-', "_")).collect();
    let keys: Vec<&str> = ["envoys", "touched"]
        .into_iter()
        .chain(counted.iter().map(String::as_str))
        .chain(["deletes"])
        .collect();
    let summary = super::object(&keys, &keys, |_| count());
    let gate = closed(
        &[
            ("gate", described("The flag that was given.", string())),
            ("limit", string()),
            ("actual", count()),
            ("exceeded", boolean()),
        ],
        &[],
    );
    let group = closed(&[("envoys", count()), ("variants", ids()), ("changes", list("change"))], &[]);
    let fields = [
        ("old", string()),
        ("new", string()),
        ("summary", summary),
        ("gates", array(gate)),
        ("groups", described("Changes that the same envoys have, the widest first.", array(group))),
        ("variants", described("What some envoys share in both policies.", list("variant"))),
    ];
    let mut defs = Defs::new();
    defs.insert("resource".into(), closed(&resource_fields(), &[]));
    defs.insert("part".into(), part());
    defs.insert("change".into(), change());
    defs.insert("variant".into(), variant(&statuses));
    document("plan", [answer("plan", &fields, &[])], defs)
}

fn ids() -> Json {
    described("Ids of variants.", array(count()))
}

fn variant(statuses: &[&str]) -> Json {
    let entry = closed(
        &[("file", string()), ("line", from_one()), ("match", strings()), ("environment", maybe_string())],
        &[],
    );
    let side = || closed(&[("entry", maybe(entry.clone())), ("merkle_root", maybe(hash()))], &[]);
    closed(
        &[
            ("id", count()),
            ("status", one_of(statuses)),
            ("envoys", count()),
            ("hosts", strings()),
            ("old", side()),
            ("new", side()),
            ("error", described("Why it does not compile.", maybe_string())),
        ],
        &[],
    )
}

/// By kind; what is about the modules of an envoy has no module, and what is about a module no resource.
fn change() -> Json {
    let of = |kind: &str, more: &[Field]| {
        let fields = [
            ("kind", json!({ "const": kind })),
            ("module", maybe_string()),
            ("resource", maybe_string()),
            ("envoys", count()),
            ("variants", ids()),
        ];
        closed(&fields.iter().chain(more).cloned().collect::<Vec<_>>(), &[("type", string())])
    };
    let step = closed(&[("name", string()), ("after", maybe_string())], &[]);
    json!({ "oneOf": [
        of("added", &[("resources", list("resource"))]),
        of("removed", &[("resources", list("resource"))]),
        of("changed", &[("parts", list("part"))]),
        of("reordered", &[("moves", array(step))]),
    ]})
}

fn part() -> Json {
    let of = |part: &str, fields: &[Field]| {
        let first = [("part", json!({ "const": part }))];
        closed(&first.iter().chain(fields).cloned().collect::<Vec<_>>(), &[])
    };
    let edges = [("added", strings()), ("removed", strings())];
    json!({ "oneOf": [
        of("type", &[("old", string()), ("new", string())]),
        of("when", &[("old", condition()), ("new", condition())]),
        of("attribute", &[("name", string()), ("old", any()), ("new", any())]),
        of("depends_on", &edges),
        of("notify", &edges),
    ]})
}
