//! What commands about one host print, and `vigoc eval`.

use super::super::super::explain;
use super::super::super::graph;
use super::{
    Defs, Field, answer, any, array, boolean, closed, condition, count, described, document, hash, list, map,
    maybe, maybe_string, one_of, placed, reference, resource_fields, string, strings,
};
use serde_json::Value as Json;

pub(in super::super) fn resolve() -> Json {
    let resource: Vec<Field> = [("module", string())].into_iter().chain(resource_fields()).collect();
    let mut defs = Defs::new();
    defs.insert("resource".into(), closed(&resource, &[]));
    let fields = [
        ("envoy", string()),
        ("entry", placed(&[])),
        ("environment", maybe_string()),
        ("roles", strings()),
        ("modules", described("In run order.", strings())),
        ("vars", map(any())),
        ("merkle_root", hash()),
        ("footprint", described("Shared traits that the result depends on.", strings())),
        ("resources", described("In run order.", list("resource"))),
    ];
    document("resolve", [answer("resolve", &fields, &[])], defs)
}

pub(in super::super) fn graph() -> Json {
    let node = closed(
        &[
            ("id", described("module.name", string())),
            ("module", string()),
            ("name", string()),
            ("type", string()),
            ("when", condition()),
            ("focus", described("Whether `--focus` names it.", boolean())),
        ],
        &[],
    );
    let edge = closed(
        &[
            ("from", described("What runs first.", string())),
            ("to", string()),
            ("kind", one_of(&graph::edge_kinds())),
        ],
        &[],
    );
    let fields = [
        ("envoy", string()),
        ("modules", strings()),
        ("nodes", array(node)),
        ("edges", array(edge)),
        ("omitted", described("Resources that `--max-nodes` leaves out.", count())),
    ];
    document("graph", [answer("graph", &fields, &[])], Defs::new())
}

/// One of four questions.
pub(in super::super) fn explain() -> Json {
    let part = closed(
        &[
            ("expr", string()),
            ("depth", described("How many conditions it is a part of.", count())),
            ("value", described("`null` when it is not known.", any())),
            ("said", string()),
        ],
        &[],
    );
    let condition_parts = placed(&[
        ("of", one_of(&["module", "resource"])),
        ("value", any()),
        ("parts", described("The first is the whole.", array(part))),
    ]);
    let mut defs = Defs::new();
    defs.insert("condition".into(), condition_parts);
    defs.insert("step".into(), placed(&[("what", string())]));
    let paths = || array(list("step"));
    let layer = placed(&[
        ("origin", string()),
        ("kind", one_of(&explain::LAYERS)),
        ("value", any()),
        ("effect", one_of(&explain::effects())),
        ("wins", boolean()),
    ]);
    let var = closed(
        &[
            ("name", string()),
            ("type", string()),
            ("state", one_of(&["set", "unset", "undecided"])),
            ("value", described("`null` unless it is set.", any())),
            ("declared", maybe(placed(&[]))),
            ("layers", described("The weakest first.", array(layer))),
        ],
        &[],
    );
    let module = closed(
        &[
            ("name", string()),
            ("status", one_of(&["assigned", "gated", "excluded", "not-assigned"])),
            ("given_by", described("Ways by which it comes in, each from the inside out.", paths())),
            ("excluded_by", paths()),
            ("would_come_with", paths()),
            ("when", maybe(reference("condition"))),
        ],
        &[],
    );
    let resource = placed(&[
        ("module", string()),
        ("name", string()),
        ("type", string()),
        ("present", boolean()),
        ("when", condition()),
        ("attributes", map(placed(&[("value", any())]))),
        ("depends_on", strings()),
        ("notify", strings()),
    ]);
    let when = closed(&[("name", string()), ("conditions", list("condition"))], &[]);
    let answers = [("var", var), ("module", module), ("resource", resource), ("when", when)]
        .map(|subject| answer("explain", &[("envoy", string()), ("entry", placed(&[])), subject], &[]));
    document("explain", answers, defs)
}

/// The value, or what is left of the expression.
pub(in super::super) fn eval() -> Json {
    let value = answer("eval", &[("value", any())], &[]);
    let left = answer("eval", &[("expr", described("What only a host can finish.", string()))], &[]);
    document("eval", [value, left], Defs::new())
}
