//! What `vigoc test` prints.

use super::{
    Defs, answer, any, array, boolean, closed, count, described, document, finding, json, list, maybe,
    maybe_string, one_of, placed, string,
};
use serde_json::Value as Json;

pub(in super::super) fn test() -> Json {
    let mut failure = finding(json!({ "const": "failed-expectation" }));
    failure.extend([
        ("expected", described("As the test has it; `null` where there is nothing to compare.", any())),
        ("actual", any()),
        ("detail", described("A difference, or the text itself.", maybe_string())),
    ]);
    let test = placed(&[
        ("name", string()),
        ("status", one_of(&["passed", "failed"])),
        ("failures", array(closed(&failure, &[]))),
    ]);
    let summary = ["tests", "passed", "failed", "files"].map(|name| (name, count()));
    let fields = [
        ("tests", array(test)),
        ("diagnostics", described("What is wrong with files of tests.", list("diagnostic"))),
        ("summary", closed(&summary, &[])),
    ];
    document("test", [answer("test", &fields, &[("coverage", coverage())])], Defs::new())
}

/// With `--coverage`.
fn coverage() -> Json {
    let share = || closed(&[("covered", count()), ("total", count())], &[]);
    let left = placed(&[
        ("kind", one_of(&["entry", "module", "resource", "when", "case"])),
        ("name", described("A pattern of an entry, a module, or module.resource.", string())),
        ("never", maybe(described("Of a condition, the outcome that no test has.", boolean()))),
        ("branch", described("Of a case, the label that no test takes.", maybe_string())),
    ]);
    closed(
        &[
            ("entries", described("Node entries.", share())),
            ("modules", share()),
            ("resources", share()),
            ("conditions", described("Outcomes: two of each condition.", share())),
            ("branches", described("Labels of `match:`.", share())),
            ("uncovered", array(left)),
        ],
        &[],
    )
}
