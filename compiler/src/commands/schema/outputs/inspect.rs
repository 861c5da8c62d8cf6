//! What `vigoc inspect` prints: a document for each kind of thing.

use super::{
    Defs, Field, answer, array, closed, count, described, document, hash, json, map, maybe_string, one_of,
    reference, resource_fields, string, strings,
};
use serde_json::Value as Json;

pub(in super::super) fn inspect() -> Json {
    let mut defs = Defs::new();
    defs.insert("resource".into(), closed(&resource_fields(), &[]));
    defs.insert("module".into(), closed(&module(), &[]));
    defs.insert("row".into(), closed(&row(), &[]));
    let whole: Vec<Field> = row().into_iter().chain(module().into_iter().skip(1)).collect();
    let envoy = closed(&bundle(reference("row")), &[]);
    let kinds = [
        (
            "build",
            vec![("envoys", array(envoy)), ("modules", described("By hash.", map(reference("module"))))],
        ),
        ("bundle", bundle(closed(&whole, &[]))),
        ("module", [("hash", hash()), ("size", count())].into_iter().chain(module()).collect()),
        ("manifest", signed(manifest())),
        ("lease", signed(lease())),
    ];
    let answers = kinds.map(|(kind, fields)| {
        let all: Vec<Field> = [("kind", json!({ "const": kind }))].into_iter().chain(fields).collect();
        answer("inspect", &all, &[])
    });
    document("inspect", answers, defs)
}

fn module() -> Vec<Field> {
    let resources = array(reference("resource"));
    vec![("name", string()), ("depends_on", strings()), ("resources", described("In run order.", resources))]
}

/// A module in a list.
fn row() -> Vec<Field> {
    vec![("name", string()), ("hash", hash()), ("size", described("Bytes.", count()))]
}

fn bundle(module: Json) -> Vec<Field> {
    vec![
        ("envoy", string()),
        ("environment", maybe_string()),
        ("roles", strings()),
        ("run_order", strings()),
        ("modules", array(module)),
        ("vars_hash", hash()),
        ("merkle_root", hash()),
        ("secrets", described("Their paths.", strings())),
    ]
}

/// An envelope and what it claims.
fn signed(claims: Json) -> Vec<Field> {
    let states = one_of(&["not-checked", "verified", "refused"]);
    let signature = closed(
        &[
            ("state", described("`verified` only by the key that was given.", states)),
            ("reason", described("Why it is refused.", maybe_string())),
        ],
        &[],
    );
    vec![
        ("size", described("Bytes.", count())),
        ("key_id", described("SHA-256 of the public key that it names.", hash())),
        ("signature", signature),
        ("claims", claims),
    ]
}

fn common() -> Vec<Field> {
    vec![
        ("cluster_id", string()),
        ("envoy_id", string()),
        ("epoch", count()),
        ("seq", count()),
        ("merkle_root", hash()),
    ]
}

fn manifest() -> Json {
    let secret = closed(&[("path", string()), ("version", string())], &[]);
    let own = [
        ("release_serial", count()),
        ("policy_version", string()),
        ("ir_format", count()),
        ("vars_hash", hash()),
        ("modules", array(reference("row"))),
        ("run_order", strings()),
        ("secrets", array(secret)),
        ("required_features", strings()),
    ];
    closed(&common().into_iter().chain(own).collect::<Vec<_>>(), &[])
}

fn lease() -> Json {
    let time = || described("Milliseconds since 1970-01-01 UTC.", count());
    let own = [
        ("issued_at", time()),
        ("expires_at", described("Milliseconds since 1970-01-01 UTC; 0: never.", count())),
        ("agent_nonce", json!({ "type": "string", "pattern": "^([0-9a-f]{2})*$" })),
        ("server_time", time()),
    ];
    closed(&common().into_iter().chain(own).collect::<Vec<_>>(), &[])
}
