use crate::resource::testing::{Sandbox, desired};
use crate::resource::{Desired, Probe, ResourceError};
use ir::Value;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

/// Attributes with the defaults that the compiler fills in.
fn with(kind: &str, extra: &[(&str, Value)]) -> Desired {
    let mut all =
        vec![("target_path", Value::from("/f")), ("create", false.into()), ("backup", false.into())];
    match kind {
        "file_line" => all.push(("state", "present".into())),
        "blockinfile" => all.extend([
            ("state", "present".into()),
            ("comment", "#".into()),
            ("comment_end", "".into()),
            ("label", "vigo".into()),
        ]),
        "ini" => {
            all.extend([("state", "present".into()), ("section", "".into()), ("separator", " = ".into())])
        }
        _ => {}
    }
    let mut d = desired(&all);
    extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
    d
}

fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(entries.iter().map(|(k, v)| ((*k).into(), v.clone())).collect())
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|i| Value::from(*i)).collect())
}

fn converge(kind: &str, text: &str, extra: &[(&str, Value)]) -> (Result<Probe, ResourceError>, String) {
    let s = Sandbox::new();
    fs::write(s.path("f"), text).unwrap();
    let d = with(kind, extra);
    let probe = s.converge(kind, &d);
    if probe.is_ok() {
        assert!(s.converge(kind, &d).unwrap().is_clean(), "the second run changes nothing");
    }
    (probe, fs::read_to_string(s.path("f")).unwrap())
}

#[track_caller]
fn becomes(kind: &str, text: &str, extra: &[(&str, Value)], action: &str, new: &str) {
    let (probe, text) = converge(kind, text, extra);
    assert_eq!((probe.unwrap().action().as_str(), text.as_str()), (action, new));
}

#[track_caller]
fn refused(kind: &str, text: &str, extra: &[(&str, Value)], message: &str) {
    let (probe, after) = converge(kind, text, extra);
    let error = probe.unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
    assert_eq!(after, text, "the file is as it was");
}

#[test]
fn a_line_is_added_replaced_and_removed() {
    let k = "file_line";
    let line = |extra: &[(&'static str, Value)]| [&[("line", "b = 2".into())], extra].concat();
    becomes(k, "a\n", &line(&[]), "line added", "a\nb = 2\n");
    becomes(k, "a", &line(&[]), "line added", "a\nb = 2\n");
    becomes(k, "a\r\n", &line(&[]), "line added", "a\r\nb = 2\r\n");
    becomes(k, "b = 2\nb = 2\n", &line(&[]), "", "b = 2\nb = 2\n");
    let pattern = line(&[("pattern", "^#?b *=".into())]);
    becomes(k, "a\n#b = 1\nc", &pattern, "line replaced", "a\nb = 2\nc");
    becomes(k, "a\nb = 2\nc\nb = 3\n", &pattern, "line removed", "a\nb = 2\nc\n");
    becomes(k, "b=1\r\nb = 3\r\n#b=4\r\n", &pattern, "line replaced, 2 lines removed", "b = 2\r\n");
    becomes(
        k,
        "x\na\ny\na\nz\n",
        &line(&[("insert_after", "^a$".into())]),
        "line added",
        "x\na\ny\na\nb = 2\nz\n",
    );
    becomes(
        k,
        "x\na\ny\na\n",
        &line(&[("insert_before", "^a$".into())]),
        "line added",
        "x\nb = 2\na\ny\na\n",
    );
    becomes(k, "x\n", &line(&[("insert_after", "^a$".into())]), "line added", "x\nb = 2\n");
    let absent = |extra: &[(&'static str, Value)]| [&[("state", "absent".into())], extra].concat();
    becomes(k, "a\nb = 2\nc\nb = 2", &absent(&[("line", "b = 2".into())]), "2 lines removed", "a\nc\n");
    becomes(k, "a\nb\n", &absent(&[("pattern", "^[b-d]$".into())]), "line removed", "a\n");
    refused(k, "a\n", &absent(&[]), "attribute `line` is missing");
    refused(k, "a\n", &[("line", "a\nb".into())], "more than one line");
    refused(k, "a\n", &[], "attribute `line` is missing");
    refused(
        k,
        "a\n",
        &line(&[("pattern", "(".into())]),
        "attribute `pattern`: is not a regular expression: unclosed",
    );
    refused(k, "a\n", &line(&[("insert_after", "a".into()), ("insert_before", "a".into())]), "insert_before");
}

#[test]
fn a_block_is_added_replaced_and_removed() {
    let k = "blockinfile";
    let block = |extra: &[(&'static str, Value)]| [&[("block", "x\ny\n".into())], extra].concat();
    becomes(k, "a\n", &block(&[]), "block added", "a\n# BEGIN vigo\nx\ny\n# END vigo\n");
    becomes(k, "a\r\n", &block(&[]), "block added", "a\r\n# BEGIN vigo\r\nx\r\ny\r\n# END vigo\r\n");
    let present = "a\n# BEGIN vigo\nold\n# END vigo\n# BEGIN other\nq\n# END other\nz";
    becomes(
        k,
        present,
        &block(&[]),
        "block replaced",
        "a\n# BEGIN vigo\nx\ny\n# END vigo\n# BEGIN other\nq\n# END other\nz",
    );
    becomes(
        k,
        present,
        &[("state", "absent".into())],
        "block removed",
        "a\n# BEGIN other\nq\n# END other\nz",
    );
    becomes(k, "a\n", &[("state", "absent".into())], "", "a\n");
    becomes(
        k,
        "<a>\n</a>\n",
        &block(&[
            ("comment", "<!--".into()),
            ("comment_end", "-->".into()),
            ("insert_before", "</a>".into()),
        ]),
        "block added",
        "<a>\n<!-- BEGIN vigo -->\nx\ny\n<!-- END vigo -->\n</a>\n",
    );
    for (text, place) in [
        ("a\n# BEGIN vigo\n", "/f, line 2, column 1: the markers"),
        ("# END vigo\n# BEGIN vigo\n", "line 2"),
        ("# BEGIN vigo\n# BEGIN vigo\n# END vigo\n", "line 1"),
    ] {
        refused(k, text, &block(&[]), place);
        refused(k, text, &[("state", "absent".into())], "the file was left as it is");
    }
    refused(k, "a\n", &[("block", "# END vigo".into())], "one of its own markers");
    refused(k, "a\n", &block(&[("label", "a\nb".into())]), "attribute `label`");
    refused(k, "a\n", &[], "attribute `block` is missing");
}

#[test]
fn matches_are_replaced_and_a_replacement_that_never_ends_is_refused() {
    let k = "replace";
    let of = |pattern: &str, new: &str| [("pattern", pattern.into()), ("replacement", new.into())];
    becomes(
        k,
        "t = 1\nu = 2\nt = 3\n",
        &of("(?m)^t = [0-9]+$", "t = 9"),
        "2 matches replaced",
        "t = 9\nu = 2\nt = 9\n",
    );
    becomes(k, "a-b", &of("^(a)-(b)$", "${2}_$1"), "1 match replaced", "b_a");
    becomes(k, "none\n", &of("x", "y"), "", "none\n");
    refused(k, "a\n", &of("a", "aa"), "would change in every run");
    refused(k, "a\n", &of("(", "b"), "attribute `pattern`");
}

#[test]
fn keys_of_a_section_are_set_and_removed_and_all_else_stays() {
    let k = "ini";
    let text = "; top\nglobal=1\n\n[one]\n# about a\na = 1\nb: 2\n\n; about two\n[two]\na = 5\na = 6\n";
    let set = |section: &str, key: &'static str, value: &str| {
        [("section", Value::from(section)), ("set", map(&[(key, value.into())]))]
    };
    becomes(k, text, &set("one", "a", "1"), "", text);
    becomes(k, text, &set("one", "a", "9"), "set a", &text.replace("a = 1", "a = 9"));
    becomes(k, text, &set("one", "b", ""), "set b", &text.replace("b: 2", "b:"));
    becomes(k, text, &set("one", "c", "x y"), "set c", &text.replace("b: 2\n", "b: 2\nc = x y\n"));
    becomes(k, text, &set("two", "a", "7"), "set a", &text.replace("a = 5\na = 6", "a = 7"));
    becomes(k, text, &set("", "global", "2"), "set global", &text.replace("global=1", "global=2"));
    becomes(
        k,
        text,
        &set("", "other", "2"),
        "set other",
        &text.replace("global=1\n", "global=1\nother = 2\n"),
    );
    becomes(k, text, &set("new", "a", "1"), "set a", &format!("{text}\n[new]\na = 1\n"));
    becomes(k, "[s]\nflag\n", &set("s", "flag", "1"), "set flag", "[s]\nflag = 1\n");
    becomes(k, "\u{feff}a=1\r\n[s]\r\n", &set("", "a", "2"), "set a", "\u{feff}a=2\r\n[s]\r\n");
    becomes(k, "[s]", &set("s", "a", "1"), "set a", "[s]\na = 1\n");
    let remove = |section: &str, key: &str| [("section", Value::from(section)), ("remove", list(&[key]))];
    becomes(k, text, &remove("two", "a"), "removed a", &text.replace("a = 5\na = 6\n", ""));
    becomes(k, text, &remove("one", "none"), "", text);
    let absent = [("section", Value::from("one")), ("state", "absent".into())];
    becomes(k, text, &absent, "section removed", "; top\nglobal=1\n\n[two]\na = 5\na = 6\n");
    refused(
        k,
        "[one\na=1\n",
        &set("one", "a", "2"),
        "/f, line 1, column 1: the name of the section has no `]`",
    );
    refused(k, text, &set("one]", "a", "2"), "attribute `section`");
    refused(k, text, &set("one", "a=b", "2"), "attribute `set`: `a=b` is not a key");
    refused(k, text, &set("one", "a", "x\ny"), "one line");
    refused(
        k,
        text,
        &[("separator", " is ".into()), ("set", map(&[("a", "1".into())]))],
        "attribute `separator`",
    );
    refused(k, text, &[("state", "absent".into())], "attribute `section`: is missing");
}

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

#[test]
fn created_kept_and_repaired() {
    let s = Sandbox::new();
    let mut d = with("file_line", &[("line", "a".into()), ("mode", "0640".into())]);
    assert!(!s.probe("file_line", &d).unwrap().is_clean(), "in a dry run another resource may make it");
    let error = s.converge("file_line", &d).unwrap_err().to_string();
    assert_eq!(
        error,
        "attribute `target_path`: there is no /f; let what makes it come first, or set `create: true`"
    );
    d.set("create", true.into(), false);
    let probe = s.converge("file_line", &d).unwrap();
    assert_eq!((probe.action().as_str(), probe.diff.unwrap().added), ("created", 1));
    assert_eq!(fs::metadata(s.path("f")).unwrap().mode() & 0o7777, 0o640);
    fs::write(s.path("f"), "b\n").unwrap();
    fs::set_permissions(s.path("f"), fs::Permissions::from_mode(0o600)).unwrap();
    d.set("mode", Value::Null, false);
    d.set("backup", true.into(), false);
    let d2 = with("file_line", &[("line", "a".into()), ("backup", true.into())]);
    let probe = s.converge("file_line", &d2).unwrap();
    assert_eq!(probe.action(), "line added");
    assert!(probe.diff.unwrap().text.contains("+a\n"));
    assert_eq!(fs::metadata(s.path("f")).unwrap().mode() & 0o7777, 0o600, "the mode stays");
    assert_eq!(fs::read(s.path("f.vigo-1700000000.bak")).unwrap(), b"b\n");
    let checked =
        with("file_line", &[("line", "bad".into()), ("validate", "sh -c '! grep -q bad %s'".into())]);
    assert!(matches!(s.converge("file_line", &checked), Err(ResourceError::Exit { .. })));
    assert_eq!(fs::read(s.path("f")).unwrap(), b"b\na\n");
}

#[test]
fn absence_needs_no_file() {
    let s = Sandbox::new();
    let absent = with("file_line", &[("line", "a".into()), ("state", "absent".into())]);
    assert!(s.converge("file_line", &absent).unwrap().is_clean());
    let removed = with("json_file", &[("remove", list(&["a.b"]))]);
    assert!(s.converge("json_file", &removed).unwrap().is_clean());
    assert_eq!(fs::read_dir(s.dir.path()).unwrap().count(), 0);
}

#[test]
fn case_082_only_a_regular_file_is_edited() {
    let s = Sandbox::new();
    let d = with("file_line", &[("line", "x".into())]);
    let refused =
        |s: &Sandbox| assert!(matches!(s.converge("file_line", &d), Err(ResourceError::InTheWay { .. })));
    fs::write(s.path("other"), "safe\n").unwrap();
    symlink("other", s.path("f")).unwrap();
    refused(&s);
    fs::remove_file(s.path("f")).unwrap();
    nix::unistd::mkfifo(&s.path("f"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&s);
    fs::remove_file(s.path("f")).unwrap();
    fs::create_dir(s.path("f")).unwrap();
    refused(&s);
    fs::remove_dir(s.path("f")).unwrap();
    // Of a hard link only this name gets the new content, and a mode alone is not changed.
    fs::hard_link(s.path("other"), s.path("f")).unwrap();
    let mode = with("file_line", &[("line", "safe".into()), ("mode", "0777".into())]);
    assert!(matches!(s.converge("file_line", &mode), Err(ResourceError::HardLinks { links: 2, .. })));
    s.converge("file_line", &d).unwrap();
    assert_eq!(fs::read(s.path("other")).unwrap(), b"safe\n");
}

#[test]
fn case_080_a_path_that_is_not_plain_is_refused() {
    let s = Sandbox::new();
    for path in ["f", "/../f", "/a//f", "/./f", "/f\0", "/"] {
        let d = with(
            "replace",
            &[("target_path", path.into()), ("pattern", "a".into()), ("replacement", "b".into())],
        );
        assert!(matches!(s.probe("replace", &d), Err(ResourceError::Path(_))), "{path:?}");
    }
}

#[test]
fn what_is_not_text_or_too_large_stays_as_it_is() {
    let s = Sandbox::new();
    let d = with("file_line", &[("line", "x".into())]);
    fs::write(s.path("f"), b"ok\n\xffno\n").unwrap();
    let error = s.converge("file_line", &d).unwrap_err().to_string();
    assert_eq!(error, "/f, line 2, column 1: is not UTF-8 text; the file was left as it is");
    let file = fs::File::create(s.path("f")).unwrap();
    file.set_len(super::MAX_EDITED + 1).unwrap();
    let error = s.converge("file_line", &d).unwrap_err().to_string();
    assert!(error.contains("larger than 16 MiB"), "{error}");
}

#[test]
fn a_secret_is_not_shown() {
    let s = Sandbox::new();
    fs::write(s.path("f"), "{}").unwrap();
    let mut d = with("json_file", &[]);
    d.set("set", map(&[("password", "hunter2".into())]), true);
    let probe = s.converge("json_file", &d).unwrap();
    assert_eq!(probe.action(), "set password (sensitive)");
    assert!(probe.diff.is_none());
    let s = Sandbox::new();
    d.set("create", true.into(), false);
    s.converge("json_file", &d).unwrap();
    assert_eq!(fs::metadata(s.path("f")).unwrap().mode() & 0o777, 0o600);
    let mut d = with("file_line", &[("state", "absent".into())]);
    d.set("line", "hunter2".into(), true);
    fs::write(s.path("f"), "hunter2\n").unwrap();
    let probe = s.converge("file_line", &d).unwrap();
    assert!(probe.diff.is_none() && !probe.action().contains("hunter2"), "{}", probe.action());
}

#[test]
fn attributes_of_another_type_are_refused() {
    let s = Sandbox::new();
    let d = with("ini", &[("line", "x".into())]);
    assert!(matches!(s.probe("ini", &d), Err(ResourceError::UnknownAttribute { kind: "ini", .. })));
}

/// Texts that look like the ones people edit.
fn texts() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "",
        "a",
        "b = 2",
        "# c",
        "[s]",
        "  x: 1",
        "key=value",
        "[t]",
        "; d",
        "é ü",
        "b = 3",
        "flag",
        "# BEGIN q",
        "k : v",
    ]);
    let end = prop::sample::select(vec!["\n", "\r\n"]);
    (prop::collection::vec(line, 0..12), end, any::<bool>()).prop_map(|(lines, end, last)| {
        let text = lines.join(end);
        if last && !text.is_empty() { text + end } else { text }
    })
}

/// A YAML or JSON value, and a text that has it.
fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(|i| Value::Int(i.into())),
        (-1000i32..1000).prop_map(|i| Value::Float(ir::Finite::new(f64::from(i) / 8.0).unwrap())),
        "[a-zé0-9:#\\-{}\\[\\], \"'\\\\\n\t~|>&*!%@]{0,8}".prop_map(|s| Value::from(s.as_str())),
        prop::sample::select(vec![
            "yes",
            "no",
            "null",
            "1e3",
            "0x1f",
            "1:30",
            "- a",
            "...",
            "---",
            "2001-01-01",
            "on",
            "~",
            "é"
        ])
        .prop_map(Value::from),
    ];
    scalar.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::btree_map(key(), inner, 0..4)
                .prop_map(|m| Value::Map(m.into_iter().map(|(k, v)| (k.into(), v)).collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "d-e", "yes", "1", "x y", "é", "q:", "", "#k"])
        .prop_map(str::to_owned)
}

fn document() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(key(), value(), 0..4)
        .prop_map(|m| Value::Map(m.into_iter().map(|(k, v)| (k.into(), v)).collect()))
}

/// Whether all but one stretch of a text is as it was.
fn one_stretch(old: &str, new: &str) -> (usize, usize) {
    let head = old.bytes().zip(new.bytes()).take_while(|(a, b)| a == b).count();
    let (old, new) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old.bytes().rev().zip(new.bytes().rev()).take_while(|(a, b)| a == b).count();
    (old.len().saturating_sub(tail), new.len().saturating_sub(tail))
}

fn edit<F: super::structured::Format>(text: &str, name: &str, value: Value) -> Result<String, String> {
    use super::Edit;
    let d = with(F::KIND, &[(name, value)]);
    super::structured::Structured::<F>::edit(&d, text).map(|e| e.text).map_err(|e| e.to_string())
}

/// Merging a document and then another, each twice.
fn merged<F: super::structured::Format>(
    first: &Value,
    second: &Value,
    lossy: bool,
) -> Result<(), TestCaseError> {
    let Ok(one) = edit::<F>("", "merge", first.clone()) else {
        prop_assert!(lossy, "{first:?}");
        return Ok(());
    };
    let two = match edit::<F>(&one, "merge", second.clone()) {
        Ok(two) => two,
        Err(error) => {
            prop_assert!(lossy, "{error}\n{one}\n{second:?}");
            return Ok(());
        }
    };
    prop_assert_eq!(&edit::<F>(&two, "merge", second.clone()).unwrap(), &two);
    if let (Value::Map(all), Ok(Value::Map(found))) = (second, F::read(&two)) {
        for (key, value) in all {
            if !matches!(value, Value::Map(_)) {
                prop_assert_eq!(found.get(key), Some(value), "{}", two);
            }
        }
        for key in all.keys().filter(|k| !k.is_empty()) {
            let path = format!("\"{key}\"");
            let gone = edit::<F>(&two, "remove", list(&[&path]));
            let gone = gone.map_err(|e| TestCaseError::fail(format!("{e}: {key} of\n{two}")))?;
            let Ok(Value::Map(left)) = F::read(&gone) else { return Err(TestCaseError::fail("no map")) };
            prop_assert!(!left.contains_key(key.as_ref()));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_line_added_leaves_every_other_byte(text in texts(), line in "[a-z= ]{1,6}") {
        use super::Edit;
        let d = with("file_line", &[("line", line.as_str().into())]);
        let once = super::line::Line::edit(&d, &text).unwrap().text;
        prop_assert!(once.lines().any(|l| l == line));
        prop_assert_eq!(&super::line::Line::edit(&d, &once).unwrap().text, &once);
        prop_assert!(once.starts_with(&text));
        let d = with("file_line", &[("line", line.as_str().into()), ("pattern", "^b".into())]);
        let once = super::line::Line::edit(&d, &text).unwrap().text;
        prop_assert_eq!(&super::line::Line::edit(&d, &once).unwrap().text, &once);
        let gone = with("file_line", &[("line", line.as_str().into()), ("state", "absent".into())]);
        let gone = super::line::Line::edit(&gone, &once).unwrap().text;
        prop_assert!(gone.lines().all(|l| l != line));
    }

    #[test]
    fn a_block_added_leaves_every_other_byte(text in texts(), block in "[a-z\n ]{0,20}") {
        use super::Edit;
        let d = with("blockinfile", &[("block", block.as_str().into())]);
        let once = super::block::Block::edit(&d, &text).unwrap().text;
        prop_assert!(once.starts_with(&text));
        prop_assert_eq!(&super::block::Block::edit(&d, &once).unwrap().text, &once);
        let gone = with("blockinfile", &[("state", "absent".into())]);
        let gone = super::block::Block::edit(&gone, &once).unwrap().text;
        prop_assert!(gone == text || gone.strip_prefix(&text).is_some_and(|end| end == "\n" || end == "\r\n"));
    }

    #[test]
    fn an_ini_key_is_changed_in_one_place(text in texts(), section in prop::sample::select(vec!["", "s", "t", "u"]), key in "[a-c]", value in "[a-z0-9 ]{0,5}") {
        use super::Edit;
        let value = value.trim();
        let d = with("ini", &[("section", section.into()), ("set", map(&[(key.as_str(), value.into())]))]);
        let once = super::ini::Ini::edit(&d, &text).unwrap();
        prop_assert_eq!(&super::ini::Ini::edit(&d, &once.text).unwrap().text, &once.text);
        for line in text.lines().filter(|l| l.starts_with(['#', ';', '['])) {
            prop_assert!(once.text.lines().any(|l| l == line));
        }
        let gone = with("ini", &[("section", section.into()), ("remove", list(&[&key]))]);
        let gone = super::ini::Ini::edit(&gone, &once.text).unwrap().text;
        prop_assert_eq!(super::ini::Ini::edit(&d, &gone).unwrap().changes.is_empty(), false);
    }

    #[test]
    fn json_merges_to_what_it_should(first in document(), second in document()) {
        merged::<super::json::Json>(&first, &second, false)?;
    }

    #[test]
    fn yaml_merges_to_what_it_should(first in document(), second in document()) {
        merged::<super::yaml::Yaml>(&first, &second, false)?;
    }

    #[test]
    fn toml_merges_to_what_it_should(first in document(), second in document()) {
        // Nothing is null there.
        merged::<super::toml::Toml>(&first, &second, true)?;
    }

    #[test]
    fn a_json_value_is_changed_in_one_place(doc in document(), new in any::<i16>()) {
        let text = edit::<super::json::Json>("", "merge", doc.clone()).unwrap_or_else(|_| "{}".into());
        let Value::Map(all) = doc else { unreachable!() };
        for key in all.keys().filter(|k| !k.is_empty()) {
            let path = format!("\"{key}\"");
            let changed = edit::<super::json::Json>(&text, "set", map(&[(&path, Value::Int(new.into()))])).unwrap();
            let (gone, come) = one_stretch(&text, &changed);
            prop_assert!(come <= 6, "{gone} became {come}");
        }
    }

    #[test]
    fn no_text_stops_an_edit(text in "[a-c:\\-\\[\\]{}\",#|>&*!?\n \t]{0,40}") {
        for name in ["set", "merge"] {
            let new = || map(&[("a", 1.into())]);
            for result in [
                edit::<super::json::Json>(&text, name, new()),
                edit::<super::yaml::Yaml>(&text, name, new()),
                edit::<super::toml::Toml>(&text, name, new()),
            ] {
                // Either as declared or an error, which leaves the file alone.
                prop_assert!(result.is_err() || result.is_ok_and(|new| !new.is_empty()));
            }
        }
        for path in ["a", "a.b", "b.0"] {
            let _ = edit::<super::yaml::Yaml>(&text, "remove", list(&[path]));
            let _ = edit::<super::json::Json>(&text, "remove", list(&[path]));
        }
    }
}
