//! `yaml_file`.

use super::documents::{document, merged};
use super::*;

#[test]
fn yaml_keeps_its_comments() {
    let k = "yaml_file";
    let text = "# top\na: 1 # one\nb:\n  # inner\n  - x\n  - y: 2 # two\n    z:\nc: |\n  text\n  more\n\n# about d\nd: {e: [1, f]} # flow\n";
    let set = |path: &'static str, value: Value| [("set", map(&[(path, value)]))];
    becomes(k, text, &set("a", 1.into()), "", text);
    becomes(k, text, &set("a", "yes".into()), "set a", &text.replace("a: 1 #", "a: \"yes\" #"));
    becomes(
        k,
        text,
        &set("b.1.y", "http://h:1/p".into()),
        "set b.1.y",
        &text.replace("y: 2 #", "y: http://h:1/p #"),
    );
    becomes(k, text, &set("b.1.z", 1.into()), "set b.1.z", &text.replace("z:\n", "z: 1\n"));
    becomes(k, text, &set("b.1.w", 1.into()), "set b.1.w", &text.replace("z:\n", "z:\n    w: 1\n"));
    becomes(
        k,
        text,
        &set("b.0", map(&[("k", 1.into()), ("l", 2.into())])),
        "set b.0",
        &text.replace("- x\n", "- k: 1\n    l: 2\n"),
    );
    becomes(k, text, &set("c", 5.into()), "set c", &text.replace("|\n  text\n  more\n", "5\n"));
    becomes(k, text, &set("d.e.1", "g".into()), "set d.e.1", &text.replace(", f]", ", g]"));
    becomes(k, text, &set("d.h", map(&[("i", 1.into())])), "set d.h", &text.replace("f]}", "f], h: {i: 1}}"));
    becomes(
        k,
        text,
        &set("nn.m", list(&["p", "q: r"])),
        "set nn.m",
        &format!("{text}nn:\n  m:\n    - p\n    - \"q: r\"\n"),
    );
    becomes(
        k,
        text,
        &set("a", map(&[("k", list(&["v"]))])),
        "set a",
        &text.replace("a: 1 # one", "a:\n  k:\n    - v # one"),
    );
    becomes(
        k,
        text,
        &set("b", "w".into()),
        "set b",
        "# top\na: 1 # one\nb: w\nc: |\n  text\n  more\n\n# about d\nd: {e: [1, f]} # flow\n",
    );
    becomes(k, "", &set("a.b", 1.into()), "set a.b", "a:\n  b: 1\n");
    becomes(k, "# only\n---\n", &set("a", 1.into()), "set a", "# only\n---\na: 1\n");
    becomes(k, "a: {}\r\nb: 1\r\n", &set("c.d", 1.into()), "set c.d", "a: {}\r\nb: 1\r\nc:\r\n  d: 1\r\n");
    becomes(k, "é: ü # ö\nb: 1\n", &set("b", 2.into()), "set b", "é: ü # ö\nb: 2\n");
    becomes(k, "e: {}\na: 1\n", &set("e.k", "".into()), "set e.k", "e: {k: \"\"}\na: 1\n");
    let remove = |path: &str| [("remove", list(&[path]))];
    becomes(k, text, &remove("a"), "removed a", &text.replace("a: 1 # one\n", ""));
    refused(k, text, &remove("b.0"), "`b.0` is an item of a list");
    becomes(k, text, &remove("b.1.y"), "removed b.1.y", &text.replace("y: 2 # two\n    ", ""));
    becomes(k, text, &remove("c"), "removed c", &text.replace("c: |\n  text\n  more\n", ""));
    becomes(k, text, &remove("d.e"), "removed d.e", &text.replace("e: [1, f]", ""));
    becomes(k, "a:\n  b: 1\n", &remove("a.b"), "removed a.b", "a: {}\n");
    becomes(k, "a: 1", &remove("a"), "removed a", "{}");
    becomes(k, "a: 1\nb: 2", &remove("b"), "removed b", "a: 1");
    for (bad, place) in [
        ("a: [1\n", "is not YAML"),
        ("a: 1\n b: 2\n", "line 2"),
        ("a: 1\n---\nb: 1\n", "line 3, column 1: a second document begins"),
        ("? [a]\n: 1\n", "a key that is not plain text"),
        ("a: &x [1]\nb: *x\n", "too unusual"),
        ("a: &x {y: 1}\na2: *x\n", "too unusual"),
    ] {
        refused(k, bad, &set("a", 5.into()), place);
    }
    refused(k, "a: &x {y: 1}\nb: *x\n", &set("b.y", 2.into()), "line 2, column 4: this is an alias");
    refused(k, &"[".repeat(10_000), &set("a", 1.into()), "/f, line 1");
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &('b'..'i').map(|c| {
            let before = char::from(c as u8 - 1);
            format!("{c}: &{c} [*{before},*{before},*{before},*{before},*{before},*{before},*{before},*{before},*{before}]\n")
        }).collect::<String>();
    refused(k, &bomb, &set("z", 1.into()), "holds more values");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn yaml_merges_to_what_it_should(first in document(), second in document()) {
        merged::<super::super::yaml::Yaml>(&first, &second, false)?;
    }
}
