//! What `vigoc doc` prints.

use super::{
    Defs, answer, any, array, boolean, closed, described, document, maybe_string, one_of, string, strings,
};
use crate::schema::Stage;
use serde_json::Value as Json;

/// The standard library, or the modules of a policy.
pub(in super::super) fn doc() -> Json {
    let attribute = closed(
        &[
            ("name", string()),
            ("type", string()),
            ("required", boolean()),
            ("default", described("`null`: none.", any())),
            ("sensitive", described("Whether it may hold a secret.", boolean())),
            ("source", described("Whether `source:` and `template:` may give it.", boolean())),
            ("doc", string()),
        ],
        &[],
    );
    let needs = closed(&[("attribute", string()), ("needs", string())], &[]);
    let excluded = closed(&[("attribute", string()), ("values", array(any()))], &[]);
    let conflict = closed(&[("attribute", string()), ("value", any()), ("excludes", array(excluded))], &[]);
    let ty = closed(
        &[
            ("name", string()),
            ("doc", string()),
            ("key", described("The attribute that says which thing it is.", string())),
            ("unique", described("Whether a host may have only one with the same key.", boolean())),
            ("attributes", array(attribute)),
            ("exclusive", described("At most one of each set may be given.", array(strings()))),
            ("requires", array(needs)),
            ("guards", described("One of them is due; none: it needs no guard.", strings())),
            (
                "conflicts",
                described(
                    "With this value, others cannot have the values that it excludes.",
                    array(conflict),
                ),
            ),
            ("example", described("Resources as they stand under `resources:` of a module.", string())),
            (
                "tried",
                described(
                    "What the tests apply the example to.",
                    one_of(&["files", "debian", "systemd", "stand-ins"]),
                ),
            ),
        ],
        &[],
    );
    let known_trait = closed(
        &[
            ("path", string()),
            ("type", string()),
            ("scope", one_of(&["shared", "host"])),
            ("optional", boolean()),
            ("doc", string()),
        ],
        &[],
    );
    let function = closed(
        &[
            ("name", string()),
            (
                "when",
                described("How it is written in a condition; `null`: it cannot stand there.", maybe_string()),
            ),
            (
                "template",
                described("How it is written in a template; `null`: it cannot stand there.", maybe_string()),
            ),
            ("returns", string()),
            ("stage", one_of(&Stage::ALL.map(Stage::name))),
            ("reads", described("Shared traits.", strings())),
            ("doc", string()),
        ],
        &[],
    );
    let library =
        [("types", array(ty.clone())), ("traits", array(known_trait)), ("functions", array(function))];
    let variable = closed(
        &[
            ("name", string()),
            ("type", string()),
            ("parameter", described("Declared under `params:`.", boolean())),
            ("required", described("It has to be set.", boolean())),
            ("default", described("`null`: none.", any())),
            ("doc", maybe_string()),
        ],
        &[],
    );
    let module = closed(
        &[
            ("name", string()),
            ("file", string()),
            ("doc", maybe_string()),
            ("depends_on", strings()),
            ("variables", array(variable)),
        ],
        &[],
    );
    let answers = [
        answer("doc", &library, &[]),
        answer("doc", &[("types", array(ty))], &[]),
        answer("doc", &[("modules", array(module))], &[]),
    ];
    document("doc", answers, Defs::new())
}
