//! Input of the wrong kind: one clear message, no panic, no hang.

use super::{NODES, policy, small, text, vigoc, vigoc_in};
use std::path::Path;
use std::time::{Duration, Instant};

/// Files that no command can use, by name.
fn bad_files(dir: &Path) -> Vec<(&'static str, String)> {
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
    std::fs::create_dir(dir.join("directory")).unwrap();
    write("latin1", b"caf\xe9: 1\n");
    write("huge", &vec![b'a'; 50 << 20]);
    let path = |name: &str| text(&dir.join(name)).to_owned();
    ["missing", "directory", "latin1", "huge"].into_iter().map(|n| (n, path(n))).collect()
}

#[test]
fn a_file_given_to_a_command_is_65_when_it_cannot_be_used() {
    let (dir, files) = (small(), tempfile::tempdir().unwrap());
    let root = text(dir.path());
    for (name, file) in bad_files(files.path()) {
        let commands: [&[&str]; 9] = [
            &["parse", &file],
            &["eval", "--template", &file],
            &["eval", "--when", "true", "--vars", &file],
            &["eval", "--when", "true", "--traits", &file],
            &["eval", "--when", "true", "--envoy", &file],
            &["eval", "--when", "true", "--item", &file],
            &["resolve", "web-1.test", root, "--traits", &file],
            &["explain", "web-1.test", root, "--var", "workers", "--traits", &file],
            &["build", root, "--fleet", &file, "--out", "/nonexistent/out"],
        ];
        for args in commands {
            let started = Instant::now();
            let ran = vigoc(args).exits(65);
            assert!(ran.out.is_empty(), "{args:?}");
            assert_eq!(ran.err.lines().count(), 1, "{name}: {}", ran.err);
            assert!(started.elapsed() < Duration::from_secs(5), "{args:?} took {:?}", started.elapsed());
        }
    }
}

#[test]
fn json_that_is_none_is_65() {
    let dir = small();
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    for bad in [
        "",
        "nonsense",
        "[1]",
        "1",
        "{\"os\": 1}",
        "{\"os\": {\"family\": [1]}}",
        "{\"os.family\": \"debian\"}",
        &deep,
    ] {
        vigoc_in(dir.path(), &["resolve", "web-1.test", "--traits", "-"], bad).exits(65);
    }
    for bad in ["", "nonsense", "[1]", "{\"a\": 9999999999999999999}", &deep] {
        vigoc_in(dir.path(), &["eval", "--when", "true", "--vars", "-"], bad).exits(65);
    }
}

#[test]
fn depth_is_a_finding_and_not_a_crash() {
    let flow = format!("a: {}1{}\n", "[".repeat(10_000), "]".repeat(10_000));
    let block: String = (0..4_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    let dir = tempfile::tempdir().unwrap();
    for bad in [&flow, &block] {
        vigoc_in(dir.path(), &["parse", "-"], bad).exits(1);
    }
    let when = format!("{}true{}", "(".repeat(10_000), ")".repeat(10_000));
    vigoc(&["eval", "--when", &when]).exits(1);
    let nots = format!("{}true", "!".repeat(10_000));
    vigoc(&["eval", "--when", &nots]).exits(1);
    let template = format!("{}x{}", "{{ if true }}".repeat(10_000), "{{ end }}".repeat(10_000));
    vigoc_in(dir.path(), &["eval", "--template", "-"], &template).exits(1);
}

#[test]
fn a_bad_file_inside_a_policy_is_a_finding() {
    let dir = policy(&[("nodes.vgo", NODES)]);
    let modules = dir.path().join("modules");
    std::fs::create_dir_all(modules.join("folder.vgo")).unwrap();
    std::fs::write(modules.join("latin1.vgo"), b"name: caf\xe9\n").unwrap();
    std::fs::write(modules.join("empty.vgo"), b"").unwrap();
    std::fs::write(modules.join("huge.vgo"), vec![b'a'; 50 << 20]).unwrap();
    std::fs::write(modules.join("deep.vgo"), "[".repeat(10_000)).unwrap();
    let ran = vigoc(&["check", text(dir.path()), "--format", "short"]).exits(1);
    for said in
        ["latin1.vgo", "empty.vgo", "huge.vgo", "deep.vgo", "not-utf8", "file-too-large", "nesting-too-deep"]
    {
        assert!(ran.out.contains(said), "{said}: {}", ran.out);
    }
}

#[test]
fn a_policy_that_is_not_there_is_65() {
    let empty = tempfile::tempdir().unwrap();
    let file = empty.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let nothing = tempfile::tempdir().unwrap();
    for root in [text(&file), text(nothing.path()), "/nonexistent"] {
        for args in [&["check", root][..], &["resolve", "h", root], &["explain", "h", root, "--var", "x"]] {
            let ran = vigoc(args).exits(65);
            assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        }
    }
}

#[test]
fn an_integer_that_no_64_bits_hold_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.json");
    for (json, place) in [
        (r#"{"a": "12345678901234567890", "b": [1e30, 0.5, 12345678901234567890123]}"#, "1:48"),
        ("{\"a\": \"\\\\\",\n  \"b\": 9223372036854775808}", "2:8"),
        (r#"{"a\": -99999999999999999999": -9223372036854775809}"#, "1:32"),
    ] {
        std::fs::write(&file, json).unwrap();
        let ran = vigoc(&["eval", "--when", "true", "--vars", text(&file)]).exits(65);
        assert!(ran.err.contains(&format!("t.json`:{place}: ")), "{json}: {}", ran.err);
        assert!(ran.err.contains("does not fit into 64 bits"), "{}", ran.err);
    }
    std::fs::write(
        &file,
        r#"{"a": [9223372036854775807, -9223372036854775808, 1e30, "99999999999999999999"]}"#,
    )
    .unwrap();
    vigoc(&["eval", "--when", "true", "--vars", text(&file)]).exits(0);
    std::fs::write(&file, "{\"hostname\": \"a\", \"traits\": {\"x\": 99999999999999999999}}\n").unwrap();
    let small = small();
    let ran =
        vigoc(&["build", text(small.path()), "--fleet", text(&file), "--out", "/nonexistent/out"]).exits(65);
    assert!(ran.err.contains("t.json`:1:35: 99999999999999999999 does not fit"), "{}", ran.err);
}
