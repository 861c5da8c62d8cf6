//! `vigoc inspect`.

use super::{acme, text, vigoc};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey;
use serde_json::{Value as Json, json};
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
    vigoc(&["inspect", text(dir.path())]).exits(65).says("neither index.json nor bundle.json");
    vigoc(&["inspect", "/nonexistent"]).exits(65).says("cannot read");
    vigoc(&["inspect", "/dev/zero"]).exits(65).says("not a regular file");
}

#[test]
fn paths_in_a_build_lead_nowhere_else() {
    let (_dir, build) = built();
    let index = |rows: &str| {
        std::fs::write(build.join("index.json"), format!(r#"{{"format_version": "1.0", "envoys": {rows}}}"#))
            .unwrap();
        vigoc(&["inspect", text(&build)]).exits(65)
    };
    for path in ["../../../etc/passwd", "envoys/../../x.json", "/etc/passwd", "envoys/.hidden"] {
        index(&format!(r#"[{{"envoy": "a", "bundle": "{path}"}}]"#)).says("is not the path of a bundle");
    }
    index("[1]").says("is not the index of a build");
    index("1").says("is not the index of a build");
    for (text_of_index, said) in [
        (r#"{"format_version": "2.0", "envoys": []}"#, "format version `2.0`"),
        (r#"{"envoys": []}"#, "no `format_version`"),
        (r#"{"format_version": 1}"#, "no `format_version`"),
        ("[]", "no `format_version`"),
        ("nonsense", "not valid JSON"),
        ("", "is empty"),
    ] {
        std::fs::write(build.join("index.json"), text_of_index).unwrap();
        vigoc(&["inspect", text(&build)]).exits(65).says(said);
    }
}

#[test]
fn a_bundle_that_does_not_add_up_is_65() {
    let (_dir, build) = built();
    let path = build.join("envoys/app-01.us.acme.test.json");
    let good: Json = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let refused = |pointer: &str, value: Json, said: &str| {
        let mut other = good.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        std::fs::write(&path, other.to_string()).unwrap();
        vigoc(&["inspect", text(&path)]).exits(65).says(said);
        vigoc(&["inspect", text(&build)]).exits(65).says(said);
    };
    refused("/modules/0/hash", json!("../index.json"), "`../index.json` is no hash");
    refused("/modules/0/hash", json!("0".repeat(64)), "do not add up to its merkle_root");
    refused("/modules/0/name", json!("another"), "do not add up");
    refused("/vars_hash", json!("0".repeat(64)), "do not add up");
    refused("/modules", json!({}), "is not the bundle of an envoy");
    refused("/modules/0", json!({ "name": "x" }), "missing field `hash`");
    // a bundle by itself, beside its blobs
    let single = tempfile::tempdir().unwrap();
    std::fs::rename(build.join("blobs"), single.path().join("blobs")).unwrap();
    std::fs::write(single.path().join("bundle.json"), good.to_string()).unwrap();
    let shown = vigoc(&["inspect", text(single.path())]).exits(0).json();
    assert_eq!((&shown["kind"], &shown["envoy"]), (&json!("bundle"), &good["envoy"]));
    assert_eq!(vigoc(&["inspect", text(&single.path().join("bundle.json"))]).exits(0).json(), shown);
    std::fs::write(single.path().join("store.redb"), "").unwrap();
    std::fs::remove_file(single.path().join("bundle.json")).unwrap();
    vigoc(&["inspect", text(single.path())]).exits(65).says("`vigo verify`");
}

#[test]
fn a_signed_envelope_shows_what_it_claims_and_whether_a_key_signed_it() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::from_bytes(&[1; 32]);
    let id = ir::signing::key_id(&key.verifying_key());
    let lease = ir::Lease {
        cluster_id: "c".into(),
        envoy_id: "web-1".into(),
        key_id: id,
        epoch: 4,
        seq: 5,
        merkle_root: ir::Hash::of(b"root"),
        issued_at: 1_700_000_000_000,
        expires_at: 1_700_000_060_000,
        agent_nonce: vec![0xab, 1],
        server_time: 1_700_000_000_000,
    };
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let envelope = lease.seal(&key);
    let path = write("lease.bin", &envelope);
    let shown = vigoc(&["inspect", text(&path)]).exits(0).says("nothing here is verified").json();
    assert_eq!((&shown["kind"], &shown["key_id"]), (&json!("lease"), &json!(id.to_string())));
    assert_eq!(shown["signature"], json!({ "state": "not-checked", "reason": null }));
    assert_eq!(shown["claims"]["seq"], 5);
    assert_eq!(shown["claims"]["agent_nonce"], "ab01");
    let hex = |key: &SigningKey| ir::Hash(key.verifying_key().to_bytes()).to_string();
    let pem = key.verifying_key().to_public_key_pem(Default::default()).unwrap();
    for right in [hex(&key), hex(&key).to_uppercase() + "\n", pem] {
        let right = write("right.pub", right.as_bytes());
        let shown = vigoc(&["inspect", text(&path), "--key", text(&right)]).exits(0).json();
        assert_eq!(shown["signature"], json!({ "state": "verified", "reason": null }));
    }
    let wrong = write("wrong.pub", hex(&SigningKey::from_bytes(&[2; 32])).as_bytes());
    let shown = vigoc(&["inspect", text(&path), "--key", text(&wrong)]).exits(1).says("must not be trusted");
    assert_eq!(shown.json()["signature"]["state"], "refused");
    // of forged bytes the claims are shown, and refused
    let mut forged = envelope.clone();
    forged[40] ^= 1;
    let forged = write("forged.bin", &forged);
    vigoc(&["inspect", text(&forged), "--key", text(&dir.path().join("right.pub"))])
        .exits(1)
        .says("does not verify");
    for (name, bytes) in [
        ("cut", &envelope[..envelope.len() - 1]),
        ("empty", b"VIGO".as_slice()),
        ("newer", &[b"VIGO\x02".as_slice(), &envelope[5..]].concat()),
        ("long", &[&envelope[..], b"x"].concat()),
        ("other", &ir::signing::seal(&key, ir::signing::Domain::Key, b"\xff\xff")),
    ] {
        let path = write(name, bytes);
        vigoc(&["inspect", text(&path)]).exits(65).says("begins as a signed envelope").prints("\"exit\": 65");
    }
    for bad in ["", "zz", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        let bad = write("bad.pub", bad.as_bytes());
        vigoc(&["inspect", text(&path), "--key", text(&bad)]).exits(65).says("no ed25519 public key");
    }
    let private = write("key.pem", b"-----BEGIN PRIVATE KEY-----\n");
    let said = vigoc(&["inspect", text(&path), "--key", text(&private)]).exits(65);
    said.says("-pubout");
    let (_build, build) = built();
    vigoc(&["inspect", text(&build), "--key", text(&wrong)]).exits(64).says("is not signed");
}
