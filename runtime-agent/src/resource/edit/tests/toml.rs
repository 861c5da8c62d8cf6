//! `toml_file`.

use super::documents::{document, merged};
use super::*;

#[test]
fn toml_keeps_its_comments() {
    let k = "toml_file";
    let text = "# top\nv = 1 # one\n\n[a] # table\nx = [1, 2] # list\n\n[[t]]\nn = 1\n";
    let set = |path: &'static str, value: Value| [("set", map(&[(path, value)]))];
    becomes(k, text, &set("v", 1.into()), "", text);
    becomes(k, text, &set("v", "w".into()), "set v", &text.replace("v = 1 #", "v = \"w\" #"));
    becomes(k, text, &set("a.x.0", 5.into()), "set a.x.0", &text.replace("[1, 2]", "[5, 2]"));
    becomes(k, text, &set("a.y", true.into()), "set a.y", &text.replace("# list\n", "# list\ny = true\n"));
    becomes(k, text, &set("t.0.n", 2.into()), "set t.0.n", &text.replace("n = 1", "n = 2"));
    becomes(k, text, &set("b.c.d", 1.into()), "set b.c.d", &format!("{text}\n[b.c]\nd = 1\n"));
    becomes(k, text, &[("remove", list(&["a.x"]))], "removed a.x", &text.replace("x = [1, 2] # list\n", ""));
    becomes(
        k,
        text,
        &[("merge", map(&[("a", map(&[("x", list(&["s"]))]))]))],
        "set a.x",
        &text.replace("[1, 2]", "[\"s\"]"),
    );
    refused(k, "a = \nb = 1\n", &set("a", 1.into()), "/f, line 1, column 5: is not TOML");
    refused(k, "a = 1\na = 2\n", &set("a", 1.into()), "line 2");
    refused(k, text, &set("v", Value::Null), "null");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn toml_merges_to_what_it_should(first in document(), second in document()) {
        // Nothing is null there.
        merged::<super::super::toml::Toml>(&first, &second, true)?;
    }
}
