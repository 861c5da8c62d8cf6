//! `vigoc build`.

use super::{acme, policy, small, text, vigoc, vigoc_in};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    for part in ["", "envoys", "blobs"] {
        for entry in std::fs::read_dir(dir.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                out.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    out
}

#[test]
fn acme_builds_the_same_bytes_twice() {
    let (root, dir) = (acme(), tempfile::tempdir().unwrap());
    let fleet = root.join("fleet.jsonl");
    let build = |out: &str| {
        let out = dir.path().join(out);
        vigoc(&["build", text(&root), "--fleet", text(&fleet), "--out", text(&out)]).exits(0);
        files(&out)
    };
    let one = build("one");
    assert_eq!(one, build("two"));
    assert_eq!(one, build("one"), "an earlier build is replaced");
    let index: Json = serde_json::from_slice(&one["index.json"]).unwrap();
    let rows = index["envoys"].as_array().unwrap();
    assert_eq!(rows.len(), 10);
    assert_eq!(
        rows[0],
        json!({ "envoy": "app-01.eu.acme.test", "bundle": "envoys/app-01.eu.acme.test.json" })
    );
    for row in rows {
        let bundle: Json = serde_json::from_slice(&one[row["bundle"].as_str().unwrap()]).unwrap();
        let modules = bundle["modules"].as_array().unwrap();
        assert_eq!(bundle["run_order"].as_array().unwrap().len(), modules.len());
        for module in modules {
            let blob = &one[&format!("blobs/{}", module["hash"].as_str().unwrap())];
            assert_eq!(module["size"], blob.len());
            let hash: String = Sha256::digest(blob).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(module["hash"], hash);
        }
        let names: Vec<&str> = modules.iter().map(|m| m["name"].as_str().unwrap()).collect();
        assert!(names.is_sorted());
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing is left beside the builds: {left:?}");
}

#[test]
fn hosts_that_cannot_be_built_are_listed_and_nothing_is_written() {
    let dir = small();
    let out = dir.path().join("out");
    let build = |fleet: &str| vigoc_in(dir.path(), &["build", "--fleet", "-", "--out", text(&out)], fleet);
    build(r#"[{"hostname": "web-1.test"}, {"hostname": "db.test"}, {"hostname": "x.test"}]"#)
        .exits(1)
        .says("2 hosts cannot be built")
        .says("db.test: no entry matches")
        .says("x.test: no entry matches");
    assert!(!out.exists());
    build("{\"hostname\": \"web-1.test\"}\n{\"hostname\": \"web-2.test\"}\n")
        .exits(0)
        .says("2 envoys, 1 variant");
    build("[]").exits(0);

    let broken = policy(&[
        ("nodes.vgo", super::NODES),
        ("modules/app.vgo", "name: app\nresources:\n  - { name: x, type: nonsense }\n"),
    ]);
    vigoc_in(broken.path(), &["build", "--fleet", "-", "--out", "out"], r#"[{"hostname": "web-1.test"}]"#)
        .exits(1)
        .says("nonsense")
        .says("web-1.test: ");
}

#[test]
fn what_is_no_build_is_left_alone() {
    let dir = small();
    let out = dir.path().join("modules");
    let before = std::fs::read(out.join("app.vgo")).unwrap();
    let fleet = r#"[{"hostname": "web-1.test"}]"#;
    vigoc_in(dir.path(), &["build", "--fleet", "-", "--out", text(&out)], fleet)
        .exits(65)
        .says("not an earlier build");
    assert_eq!(std::fs::read(out.join("app.vgo")).unwrap(), before);
}

#[test]
fn a_fleet_that_makes_no_sense_is_65() {
    let dir = small();
    for fleet in [
        "",
        "nonsense",
        "{}",
        "[1]",
        r#"[{"hostname": 1}]"#,
        r#"[{"hostname": "../../etc/passwd"}]"#,
        r#"[{"hostname": ".."}]"#,
        r#"[{"hostname": ""}]"#,
        r#"[{"hostname": "a.test"}, {"hostname": "A.test."}]"#,
        r#"[{"hostname": "a.test", "traits": 1}]"#,
        r#"[{"hostname": "a.test", "traits": {"os": {"family": 1}}}]"#,
        r#"[{"hostname": "a.test", "extra": 1}]"#,
        "{\"hostname\": \"a.test\"}\n{\n",
    ] {
        vigoc_in(dir.path(), &["build", "--fleet", "-", "--out", "out"], fleet).exits(65);
        assert!(!dir.path().join("out").exists(), "{fleet}");
    }
}
