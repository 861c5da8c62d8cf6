//! What is done to every bundle: encode, hash, sign, and the agent's half of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failing bench may panic")]

use divan::{Bencher, black_box};
use ed25519_dalek::SigningKey;
use ir::manifest::ModuleRow;
use ir::signing::{Domain, key_id, sign, verify};
use ir::{Builtin, Expr, Hash, Manifest, Module, Piece, Resource, Root, Target, Value, merkle, wire};

fn main() {
    divan::main();
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn leaves() -> Vec<Hash> {
    (0..1000u32).map(|n| merkle::leaf_hash(&n.to_be_bytes())).collect()
}

fn manifest() -> Manifest {
    let row = |n: u32| {
        let name = format!("module{n:03}");
        ModuleRow { hash: Hash::of(name.as_bytes()), name, size: 4000 }
    };
    let mut manifest = Manifest {
        cluster_id: "cluster".into(),
        envoy_id: "web-01.example.com".into(),
        key_id: key_id(&key().verifying_key()),
        epoch: 1,
        seq: 42,
        release_serial: 7,
        policy_version: "v".into(),
        ir_format: ir::IR_FORMAT,
        merkle_root: Hash::default(),
        vars_hash: Hash::of(b"vars"),
        modules: (0..40).map(row).collect(),
        run_order: (0..40).rev().collect(),
        secret_refs: vec![],
        required_features: vec![],
    };
    manifest.merkle_root = manifest.computed_root();
    manifest
}

fn module() -> Module {
    let resource = |n: u32| Resource {
        name: format!("file{n}").into(),
        kind: "file".into(),
        when: Some(Expr::Call(Builtin::OsFamily, vec![Expr::Const("debian".into())])),
        attributes: vec![
            (
                "content".into(),
                Expr::Template(vec![
                    Piece::Text("listen ".repeat(40).into()),
                    Piece::Emit(Expr::path(Root::Traits, &["net", "ip"])),
                ]),
            ),
            ("mode".into(), Expr::Const("0644".into())),
            ("owner".into(), Expr::Const("root".into())),
            ("target_path".into(), Expr::Const(Value::from(format!("/etc/app/{n}.conf")))),
        ],
        depends_on: n.checked_sub(1).map(Target::Local).into_iter().collect(),
        notify: vec![],
    };
    Module { name: "app".into(), depends_on: vec!["base".into()], resources: (0..20).map(resource).collect() }
}

#[divan::bench]
fn root_of_1000_leaves(bencher: Bencher) {
    let leaves = leaves();
    bencher.bench(|| merkle::root(black_box(&leaves)));
}

#[divan::bench]
fn inclusion_proof_in_1000_leaves(bencher: Bencher) {
    let leaves = leaves();
    bencher.bench(|| merkle::inclusion_proof(black_box(&leaves), 617).expect("there"));
}

#[divan::bench]
fn verify_inclusion_in_1000_leaves(bencher: Bencher) {
    let leaves = leaves();
    let (root, proof) = (merkle::root(&leaves), merkle::inclusion_proof(&leaves, 617).expect("there"));
    bencher.bench(|| assert!(merkle::verify_inclusion(leaves[617], 617, 1000, black_box(&proof), root)));
}

#[divan::bench]
fn sign_100_bytes(bencher: Bencher) {
    let key = key();
    bencher.bench(|| sign(&key, Domain::Lease, black_box(&[1; 100])));
}

#[divan::bench]
fn verify_100_bytes(bencher: Bencher) {
    let key = key();
    let (public, signature) = (key.verifying_key(), sign(&key, Domain::Lease, &[1; 100]));
    bencher.bench(|| assert!(verify(&public, Domain::Lease, black_box(&[1; 100]), &signature)));
}

#[divan::bench]
fn seal_a_manifest_of_40_modules(bencher: Bencher) {
    let (key, manifest) = (key(), manifest());
    bencher.bench(|| black_box(&manifest).seal(&key));
}

#[divan::bench]
fn open_a_manifest_of_40_modules(bencher: Bencher) {
    let (public, bytes) = (key().verifying_key(), manifest().seal(&key()));
    bencher.bench(|| Manifest::open(&public, black_box(&bytes)).expect("genuine"));
}

#[divan::bench]
fn encode_a_module_of_20_resources(bencher: Bencher) {
    let module = module();
    bencher.bench(|| wire::encode_module(black_box(&module)).expect("encodes"));
}

#[divan::bench]
fn decode_a_module_of_20_resources(bencher: Bencher) {
    let bytes = wire::encode_module(&module()).expect("encodes");
    bencher.bench(|| wire::decode_module(black_box(&bytes)).expect("decodes"));
}
