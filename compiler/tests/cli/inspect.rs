//! `vigoc inspect`.

use super::{acme, text, vigoc};
use serde_json::json;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn built() -> (TempDir, PathBuf) {
    let (root, dir) = (acme(), tempfile::tempdir().unwrap());
    let (fleet, out) = (root.join("fleet.jsonl"), dir.path().join("build"));
    vigoc(&["build", text(&root), "--fleet", text(&fleet), "--out", text(&out)]).exits(0);
    (dir, out)
}

fn a_blob(build: &Path) -> PathBuf {
    let mut blobs: Vec<_> =
        std::fs::read_dir(build.join("blobs")).unwrap().map(|e| e.unwrap().path()).collect();
    blobs.sort();
    blobs.remove(0)
}

#[test]
fn a_build_a_bundle_and_a_blob_are_shown() {
    let (_dir, build) = built();
    let all = vigoc(&["inspect", text(&build)]).exits(0).json();
    assert_eq!((&all["kind"], all["envoys"].as_array().unwrap().len()), (&json!("build"), 10));
    let path = build.join("envoys/app-01.us.acme.test.json");
    let bundle = vigoc(&["inspect", text(&path)]).exits(0).json();
    assert_eq!((&bundle["kind"], &bundle["envoy"]), (&json!("bundle"), &json!("app-01.us.acme.test")));
    let modules = bundle["modules"].as_array().unwrap();
    let shop = modules.iter().find(|m| m["name"] == "shop").unwrap();
    let config = shop["resources"].as_array().unwrap().iter().find(|r| r["name"] == "config").unwrap();
    assert_eq!(config["type"], "file");
    assert_eq!(config["notify"], json!(["shop.restart"]));
    assert!(
        config["attributes"]["content"]["expr"].as_str().unwrap().contains("(secret \"shop/db_password\")")
    );
    let hash = shop["hash"].as_str().unwrap();
    assert_eq!(all["modules"][hash]["resources"], shop["resources"]);
    let blob = vigoc(&["inspect", text(&build.join("blobs").join(hash))]).exits(0).json();
    assert_eq!((&blob["kind"], &blob["resources"]), (&json!("module"), &shop["resources"]));
}

#[test]
fn bytes_that_are_not_what_they_should_be_are_65() {
    let (dir, build) = built();
    let blob = a_blob(&build);
    let bytes = std::fs::read(&blob).unwrap();
    // under its own name the hash tells, under another one the decoder
    let mut flipped = bytes.clone();
    flipped[10] ^= 1;
    std::fs::write(&blob, &flipped).unwrap();
    vigoc(&["inspect", text(&blob)]).exits(65).says("another hash");
    vigoc(&["inspect", text(&build)]).exits(65).says("another hash");
    let other = dir.path().join("blob");
    for hostile in [
        &b""[..],
        b"VIGO\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        &bytes[..bytes.len() / 2],
        &[0x0a; 4000],
    ] {
        std::fs::write(&other, hostile).unwrap();
        vigoc(&["inspect", text(&other)]).exits(65).says(text(&other));
    }
    std::fs::File::create(&other).unwrap().set_len(9 << 20).unwrap();
    vigoc(&["inspect", text(&other)]).exits(65).says("larger than a module may be");
    vigoc(&["inspect", text(dir.path())]).exits(65).says("no index.json");
    vigoc(&["inspect", "/nonexistent"]).exits(65).says("cannot read");
    vigoc(&["inspect", "/dev/zero"]).exits(65).says("not a regular file");
}

#[test]
fn paths_in_a_build_lead_nowhere_else() {
    let (_dir, build) = built();
    let write = |name: &str, text: &str| std::fs::write(build.join(name), text).unwrap();
    for index in [
        r#"{"format_version": "1.0", "envoys": [{"bundle": "../../../etc/passwd"}]}"#,
        r#"{"format_version": "1.0", "envoys": [{"bundle": "envoys/../../x.json"}]}"#,
        r#"{"format_version": "1.0", "envoys": [1]}"#,
        r#"{"format_version": "1.0", "envoys": 1}"#,
        r#"{"format_version": "2.0", "envoys": []}"#,
        r#"{"envoys": []}"#,
        "[]",
        "nonsense",
    ] {
        write("index.json", index);
        vigoc(&["inspect", text(&build)]).exits(65);
    }
    for bundle in [
        r#"{"format_version": "1.0", "modules": [{"name": "x", "hash": "../index.json"}]}"#,
        r#"{"format_version": "1.0", "modules": [{"name": "x"}]}"#,
        r#"{"format_version": "1.0"}"#,
    ] {
        write("envoys/x.json", bundle);
        vigoc(&["inspect", text(&build.join("envoys/x.json"))]).exits(65);
    }
}
