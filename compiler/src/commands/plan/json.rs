//! A plan as JSON: everything, each thing once. Envoys stand under `variants`, and changes name those by number.

use super::Planned;
use super::human::refusal;
use crate::commands::residual::{Shown, attribute_json, condition_json};
use crate::plan::{Change, Entry, Move, Part, Resource, Status};
use ir::Expr;
use serde_json::{Map, Value as Json, json};
use std::sync::Arc;

pub(super) fn document(planned: &Planned<'_>) -> Json {
    let plan = &planned.plan;
    let counts = plan.counts();
    let mut summary = Map::new();
    summary.insert("envoys".into(), planned.fleet.members.len().into());
    summary.insert("touched".into(), plan.touched().into());
    for status in Status::ALL {
        summary.insert(status.name().replace('-', "_"), counts.get(&status).copied().unwrap_or(0).into());
    }
    summary.insert("deletes".into(), plan.deletes().into());
    let variants: Vec<Json> = plan
        .pairs
        .iter()
        .enumerate()
        .map(|(id, pair)| {
            let root = |survey: &crate::plan::Survey, fate| survey.variant(fate).map(|v| v.merkle_root.to_string());
            json!({
                "id": id,
                "status": pair.status.name(),
                "envoys": pair.envoys.len(),
                "hosts": planned.hosts(&pair.envoys).collect::<Vec<_>>(),
                "old": { "entry": plan.old.entry(pair.old).map(entry), "merkle_root": root(&plan.old, pair.old) },
                "new": { "entry": plan.new.entry(pair.new).map(entry), "merkle_root": root(&plan.new, pair.new) },
                "error": refusal(planned, pair),
            })
        })
        .collect();
    let groups: Vec<Json> = plan
        .groups
        .iter()
        .map(|group| {
            let changes = group.items.iter().flat_map(|i| &i.variations).map(|v| {
                let mut out = change(&v.change);
                out["envoys"] = v.envoys.into();
                out["variants"] = json!(v.pairs);
                out
            });
            json!({ "envoys": group.envoys, "variants": group.pairs, "changes": changes.collect::<Vec<_>>() })
        })
        .collect();
    let gates: Vec<Json> = planned
        .gates
        .iter()
        .map(|g| json!({ "gate": g.flag, "limit": g.limit, "actual": g.actual, "exceeded": g.exceeded }))
        .collect();
    json!({
        "old": planned.names[0],
        "new": planned.names[1],
        "summary": summary,
        "gates": gates,
        "groups": groups,
        "variants": variants,
    })
}

fn entry(e: &Entry) -> Json {
    json!({
        "file": &*e.file,
        "line": e.line,
        "match": names(&e.patterns),
        "environment": e.environment.as_deref(),
    })
}

fn names(list: &[Arc<str>]) -> Vec<&str> {
    list.iter().map(|n| &**n).collect()
}

fn change(c: &Change) -> Json {
    let mut out = json!({
        "kind": c.kind(),
        "module": c.module().map(|m| &**m),
        "resource": c.resource().map(|r| &**r),
    });
    match c {
        Change::ModuleAdded { resources, .. } | Change::ModuleRemoved { resources, .. } => {
            out["resources"] = resources.iter().map(resource).collect();
        }
        Change::Added { resource: r, .. } | Change::Removed { resource: r, .. } => {
            out["type"] = (*r.kind).into();
            out["resources"] = json!([resource(r)]);
        }
        Change::Changed { kind, parts, .. } => {
            out["type"] = (**kind).into();
            out["parts"] = parts.iter().map(part).collect();
        }
        Change::ModuleChanged { parts, .. } => out["parts"] = parts.iter().map(part).collect(),
        Change::Moved { moves, .. } => {
            let one = |m: &Move| json!({ "name": &*m.name, "after": m.after.as_deref() });
            out["moves"] = moves.iter().map(one).collect();
        }
    }
    out
}

fn resource(r: &Resource) -> Json {
    let (depends_on, notify) = (names(&r.depends_on), names(&r.notify));
    Shown {
        name: &r.name,
        kind: &r.kind,
        when: r.when.as_ref(),
        attributes: &r.attributes,
        depends_on,
        notify,
    }
    .json()
}

fn part(p: &Part) -> Json {
    let value = |v: &Option<Expr>| v.as_ref().map_or(Json::Null, attribute_json);
    match p {
        Part::Type { old, new } => json!({ "part": "type", "old": &**old, "new": &**new }),
        Part::When { old, new } => {
            json!({ "part": "when", "old": condition_json(old.as_ref()), "new": condition_json(new.as_ref()) })
        }
        Part::Attribute { name, old, new } => {
            json!({ "part": "attribute", "name": &**name, "old": value(old), "new": value(new) })
        }
        Part::Edges { key, added, removed } => {
            json!({ "part": key, "added": names(added), "removed": names(removed) })
        }
    }
}
