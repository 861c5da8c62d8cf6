//! `json_file`.

use super::documents::{document, edit, merged, one_stretch};
use super::*;

#[test]
fn json_keeps_its_order_and_layout() {
    let k = "json_file";
    let text = "{\n    \"b\": 1,\n    \"a\": {\"x\": [1, 2.50, \"q\"]},\n    \"e\": {}\n}\n";
    let set = |path: &'static str, value: Value| [("set", map(&[(path, value)]))];
    becomes(k, text, &set("b", 1.into()), "", text);
    becomes(k, text, &set("b", "x\ny".into()), "set b", &text.replace(": 1,", ": \"x\\ny\","));
    becomes(k, text, &set("a.x.1", 3.into()), "set a.x.1", &text.replace("2.50", "3"));
    becomes(k, text, &set("a.y", true.into()), "set a.y", &text.replace("\"q\"]}", "\"q\"], \"y\": true}"));
    becomes(
        k,
        text,
        &set("n", map(&[("l", list(&["1"])), ("m", map(&[]))])),
        "set n",
        &text.replace(
            "{}\n}",
            "{},\n    \"n\": {\n        \"l\": [\n            \"1\"\n        ],\n        \"m\": {}\n    }\n}",
        ),
    );
    becomes(
        k,
        text,
        &set("e.k.z", 1.into()),
        "set e.k.z",
        &text.replace("{}\n}", "{\n        \"k\": {\n            \"z\": 1\n        }\n    }\n}"),
    );
    becomes(
        k,
        text,
        &set("\"b.c\"", 1.into()),
        "set \"b.c\"",
        &text.replace("{}\n}", "{},\n    \"b.c\": 1\n}"),
    );
    becomes(k, "", &set("a", 1.into()), "set a", "{\n  \"a\": 1\n}\n");
    let remove = |path: &str| [("remove", list(&[path]))];
    becomes(k, text, &remove("b"), "removed b", &text.replace("\"b\": 1,\n    ", ""));
    becomes(k, text, &remove("e"), "removed e", &text.replace(",\n    \"e\": {}", ""));
    becomes(k, text, &remove("a.x"), "removed a.x", &text.replace("\"x\": [1, 2.50, \"q\"]", ""));
    refused(k, text, &remove("a.x.0"), "the next run would remove the next one");
    let merge = [("merge", map(&[("a", map(&[("y", 2.into())])), ("b", 2.into())]))];
    becomes(
        k,
        text,
        &merge,
        "set a.y, set b",
        &text.replace("\"q\"]", "\"q\"], \"y\": 2").replace(": 1,", ": 2,"),
    );
    for (bad, place) in [
        ("{\"a\": 1,}", "line 1, column 9: is not JSON: a key in double quotes"),
        ("{\n \"a\" 1}", "line 2, column 6"),
        ("{\"a\": nope}", "line 1, column 7: is not JSON: a value is due here"),
        ("{} x", "something follows"),
        ("{\"a\": \"b", "does not end"),
        ("// no\n{}", "line 1, column 1"),
        ("{\"a\": 01}", "a value is due"),
    ] {
        refused(k, bad, &set("a", 1.into()), place);
    }
    refused(k, &"[".repeat(100_000), &set("a", 1.into()), "nested too deeply");
    refused(k, text, &set("b.c", 1.into()), "`b.c` cannot be set: `b` is neither a map nor a list");
    refused(k, text, &set("a.x.9", 1.into()), "`a.x` is a list of 3");
    refused(k, text, &set("a..b", 1.into()), "is not a path");
    refused(k, text, &[], "attribute `set` is missing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn json_merges_to_what_it_should(first in document(), second in document()) {
        merged::<super::super::json::Json>(&first, &second, false)?;
    }

    #[test]
    fn a_json_value_is_changed_in_one_place(doc in document(), new in any::<i16>()) {
        let text = edit::<super::super::json::Json>("", "merge", doc.clone()).unwrap_or_else(|_| "{}".into());
        let Value::Map(all) = doc else { unreachable!() };
        for key in all.keys().filter(|k| !k.is_empty()) {
            let path = format!("\"{key}\"");
            let changed = edit::<super::super::json::Json>(&text, "set", map(&[(&path, Value::Int(new.into()))])).unwrap();
            let (gone, come) = one_stretch(&text, &changed);
            prop_assert!(come <= 6, "{gone} became {come}");
        }
    }
}
