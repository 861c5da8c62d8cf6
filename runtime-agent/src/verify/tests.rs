//! Each reason with its positive twin: the same bundle, untouched, is taken.

use super::*;
use ed25519_dalek::SigningKey;
use ir::manifest::{ModuleRow, SecretRef};
use ir::signing;
use std::collections::BTreeMap;

const NOW: Millis = 1_700_000_000_000;
const DAY: Millis = 86_400_000;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn trusted(seed: u8, epoch: u64) -> TrustedKey {
    let key = key(seed).verifying_key();
    TrustedKey {
        key,
        key_id: signing::key_id(&key),
        epoch,
        live_epochs: vec![],
        not_before: 0,
        not_after: u64::MAX,
    }
}

fn module(name: &str) -> Vec<u8> {
    let module = Module { name: name.into(), depends_on: vec![], resources: vec![] };
    ir::wire::encode_module(&module).unwrap()
}

/// A bundle and everything around it, to be changed before it is judged.
struct Case {
    manifest: Manifest,
    lease: Lease,
    blobs: BTreeMap<Hash, Vec<u8>>,
    signer: u8,
    marks: Marks,
    live: Vec<u64>,
    now: Millis,
    nonce: Option<Vec<u8>>,
    epoch: u64,
    tamper: fn(&mut Vec<u8>, &mut Vec<u8>),
}

impl Case {
    fn new() -> Self {
        let blobs: BTreeMap<Hash, Vec<u8>> =
            ["base", "web"].iter().map(|n| (Hash::of(&module(n)), module(n))).collect();
        let row = |name: &str| {
            let bytes = module(name);
            ModuleRow { name: name.into(), hash: Hash::of(&bytes), size: bytes.len() as u64 }
        };
        let mut manifest = Manifest {
            cluster_id: "cluster".into(),
            envoy_id: "envoy".into(),
            key_id: signing::key_id(&key(1).verifying_key()),
            epoch: 3,
            seq: 6,
            release_serial: 2,
            policy_version: "v6".into(),
            ir_format: ir::IR_FORMAT,
            merkle_root: Hash::default(),
            vars_hash: Hash::of(b"vars"),
            modules: vec![row("base"), row("web")],
            run_order: vec![1, 0],
            secret_refs: vec![SecretRef { path: "p".into(), version: "1".into() }],
            required_features: vec![],
        };
        manifest.merkle_root = manifest.computed_root();
        let lease = Lease {
            cluster_id: "cluster".into(),
            envoy_id: "envoy".into(),
            key_id: manifest.key_id,
            epoch: 3,
            seq: 6,
            merkle_root: manifest.merkle_root,
            issued_at: NOW,
            expires_at: NOW + DAY,
            agent_nonce: vec![7; 16],
            server_time: NOW,
        };
        let marks = Marks { epoch: 3, seq: 6, root: manifest.merkle_root.to_string(), ..Marks::default() };
        Case {
            manifest,
            lease,
            blobs,
            signer: 1,
            marks,
            live: vec![],
            now: NOW,
            nonce: Some(vec![7; 16]),
            epoch: 3,
            tamper: |_, _| {},
        }
    }

    fn judge(&self) -> Result<Verified, VerifyError> {
        let (mut manifest, mut lease) =
            (self.manifest.seal(&key(self.signer)), self.lease.seal(&key(self.signer)));
        (self.tamper)(&mut manifest, &mut lease);
        verify_bundle(&Inputs {
            cluster_id: "cluster",
            envoy_id: "envoy",
            manifest: &manifest,
            manifest_key: &trusted(1, self.epoch),
            lease: &lease,
            lease_key: &trusted(1, self.epoch),
            live_epochs: &self.live,
            marks: &self.marks,
            now: self.now,
            nonce: self.nonce.as_deref(),
            blob: &|hash| self.blobs.get(hash).map(Vec::as_slice),
        })
    }
}

fn after(change: impl FnOnce(&mut Case)) -> Result<Verified, VerifyError> {
    let mut case = Case::new();
    assert!(case.judge().is_ok(), "the positive twin");
    change(&mut case);
    case.judge()
}

fn refused(change: impl FnOnce(&mut Case)) -> VerifyError {
    after(change).unwrap_err()
}

fn reroot(case: &mut Case) {
    case.manifest.merkle_root = case.manifest.computed_root();
    case.lease.merkle_root = case.manifest.merkle_root;
}

#[test]
fn what_is_good_is_taken_in_run_order() {
    let verified = Case::new().judge().unwrap();
    let names: Vec<_> = verified.modules.iter().map(|m| m.name.to_string()).collect();
    assert_eq!(names, ["web", "base"]);
}

#[test]
fn case_001_rollback() {
    assert_eq!(refused(|c| c.marks.seq = 7), VerifyError::Rollback { have: 7, got: 6 });
    assert!(after(|c| (c.marks.seq, c.marks.root) = (5, "other".into())).is_ok());
}

#[test]
fn case_002_equivocation() {
    let error = refused(|c| c.marks.root = Hash::of(b"x").to_string());
    assert!(matches!(error, VerifyError::Equivocation { seq: 6, .. }));
}

#[test]
fn case_003_004_another_envoy_or_cluster_in_manifest_or_lease() {
    assert_eq!(refused(|c| c.manifest.envoy_id = "b".into()), VerifyError::WrongEnvoy("b".into()));
    assert_eq!(refused(|c| c.lease.envoy_id = "b".into()), VerifyError::WrongEnvoy("b".into()));
    assert_eq!(refused(|c| c.manifest.cluster_id = "b".into()), VerifyError::WrongCluster("b".into()));
    assert_eq!(refused(|c| c.lease.cluster_id = "b".into()), VerifyError::WrongCluster("b".into()));
}

#[test]
fn case_004_a_bundle_of_another_cluster_with_the_same_ca() {
    // Signed by the very key that is trusted, for the very envoy: only the cluster is another one.
    let other = refused(|c| {
        c.manifest.cluster_id = "other".into();
        c.lease.cluster_id = "other".into();
    });
    assert_eq!(other, VerifyError::WrongCluster("other".into()));
    // The lease alone, beside a manifest of ours.
    assert_eq!(refused(|c| c.lease.cluster_id = "other".into()), VerifyError::WrongCluster("other".into()));
}

#[test]
fn case_006_what_is_cut_or_longer_or_rearranged_is_none() {
    let case = Case::new();
    let (manifest, lease) = (case.manifest.seal(&key(1)), case.lease.seal(&key(1)));
    let judge = |manifest: &[u8], lease: &[u8]| {
        verify_bundle(&Inputs {
            cluster_id: "cluster",
            envoy_id: "envoy",
            manifest,
            manifest_key: &trusted(1, 3),
            lease,
            lease_key: &trusted(1, 3),
            live_epochs: &[],
            marks: &case.marks,
            now: NOW,
            nonce: None,
            blob: &|hash| case.blobs.get(hash).map(Vec::as_slice),
        })
        .map(drop)
    };
    assert_eq!(judge(&manifest, &lease), Ok(()), "the positive twin");
    let malformed = Err(VerifyError::Malformed("not a signed envelope".into()));
    for cut in 0..manifest.len() {
        assert_eq!(judge(&manifest[..cut], &lease), malformed, "manifest cut at {cut}");
    }
    for cut in 0..lease.len() {
        assert_eq!(judge(&manifest, &lease[..cut]), malformed, "lease cut at {cut}");
    }
    for byte in [0, 1, 0xff] {
        assert_eq!(judge(&[&manifest[..], &[byte]].concat(), &lease), malformed);
        assert_eq!(judge(&[&[byte], &manifest[..]].concat(), &lease), malformed);
    }
    assert_eq!(judge(&[manifest.clone(), manifest.clone()].concat(), &lease), malformed, "two bundles");
    assert_eq!(judge(&[manifest.clone(), lease.clone()].concat(), &lease), malformed);
    // Two fields of one length, swapped: the two hashes of modules, and two halves of the signature.
    let at = |hash: &Hash| manifest.windows(32).position(|w| w == hash.0).unwrap();
    let rows = &case.manifest.modules;
    for (one, two, len) in [(at(&rows[0].hash), at(&rows[1].hash), 32), (37, 69, 32)] {
        let mut swapped = manifest.clone();
        for byte in 0..len {
            swapped.swap(one + byte, two + byte);
        }
        assert_ne!(swapped, manifest, "the fault is there");
        assert_eq!(judge(&swapped, &lease), Err(VerifyError::BadSignature));
    }
}

#[test]
fn case_005_006_no_bit_may_flip_and_nothing_may_be_cut() {
    let case = Case::new();
    let (manifest, lease) = (case.manifest.seal(&key(1)), case.lease.seal(&key(1)));
    let judge = |manifest: &[u8], lease: &[u8]| {
        verify_bundle(&Inputs {
            cluster_id: "cluster",
            envoy_id: "envoy",
            manifest,
            manifest_key: &trusted(1, 3),
            lease,
            lease_key: &trusted(1, 3),
            live_epochs: &[],
            marks: &case.marks,
            now: NOW,
            nonce: None,
            blob: &|hash| case.blobs.get(hash).map(Vec::as_slice),
        })
    };
    assert!(judge(&manifest, &lease).is_ok());
    for byte in 0..manifest.len() {
        let mut flipped = manifest.clone();
        flipped[byte] ^= 1 << (byte % 8);
        assert!(judge(&flipped, &lease).is_err(), "manifest byte {byte}");
        assert!(judge(&manifest[..byte], &lease).is_err(), "manifest cut at {byte}");
    }
    for byte in 0..lease.len() {
        let mut flipped = lease.clone();
        flipped[byte] ^= 1 << (byte % 8);
        assert!(judge(&manifest, &flipped).is_err(), "lease byte {byte}");
        assert!(judge(&manifest, &lease[..byte]).is_err(), "lease cut at {byte}");
    }
    for (hash, bytes) in &case.blobs {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let with = |h: &Hash| {
                if h == hash { Some(flipped.clone()) } else { case.blobs.get(h).cloned() }
            };
            let all: BTreeMap<Hash, Vec<u8>> = case.blobs.keys().map(|h| (*h, with(h).unwrap())).collect();
            let error = verify_modules(&case.manifest, &|h| all.get(h).map(Vec::as_slice)).unwrap_err();
            assert!(matches!(error, VerifyError::DamagedModule(_)), "bit {bit}");
        }
    }
}

#[test]
fn case_007_unsigned() {
    assert_eq!(refused(|c| c.tamper = |m, _| m[37..101].fill(0)), VerifyError::Unsigned);
    assert_eq!(refused(|c| c.tamper = |_, l| l[37..101].fill(0)), VerifyError::Unsigned);
    assert!(matches!(refused(|c| c.tamper = |_, l| l.clear()), VerifyError::Malformed(_)));
}

#[test]
fn case_008_another_key_or_domain() {
    assert_eq!(refused(|c| c.signer = 2), VerifyError::UnknownKey);
    assert_eq!(refused(|c| c.tamper = |m, l| std::mem::swap(m, l)), VerifyError::BadSignature);
    assert_eq!(refused(|c| c.manifest.key_id = Hash::of(b"x")), VerifyError::UnknownKey);
}

#[test]
fn case_010_modules_of_another_bundle() {
    assert_eq!(refused(|c| c.manifest.merkle_root = Hash::of(b"x")), VerifyError::RootMismatch);
    let swapped = refused(|c| {
        let (a, b) = (c.manifest.modules[0].clone(), c.manifest.modules[1].clone());
        (c.manifest.modules[0].hash, c.manifest.modules[0].size) = (b.hash, b.size);
        (c.manifest.modules[1].hash, c.manifest.modules[1].size) = (a.hash, a.size);
        c.marks = Marks::default();
        reroot(c);
    });
    assert_eq!(swapped, VerifyError::Malformed("module `web` calls itself otherwise".into()));
    assert_eq!(refused(|c| c.lease.merkle_root = Hash::of(b"x")), VerifyError::LeaseMismatch);
    assert_eq!(refused(|c| c.lease.seq = 7), VerifyError::LeaseMismatch);
}

#[test]
fn case_011_a_module_that_is_missing_or_rotten() {
    let base = Hash::of(&module("base"));
    assert_eq!(refused(|c| drop(c.blobs.remove(&base))), VerifyError::MissingModule("base".into()));
    let rotten = refused(|c| drop(c.blobs.insert(base, module("web"))));
    assert_eq!(rotten, VerifyError::DamagedModule("base".into()));
}

#[test]
fn case_013_formats_and_features_of_another_time() {
    assert_eq!(refused(|c| c.manifest.ir_format = 2), VerifyError::UnsupportedFormat(2));
    assert_eq!(
        refused(|c| c.manifest.required_features = vec!["warp".into()]),
        VerifyError::UnknownFeature("warp".into())
    );
    assert_eq!(refused(|c| c.tamper = |m, _| m[4] = 9), VerifyError::UnsupportedFormat(9));
}

#[test]
fn case_014_expiry_to_the_millisecond() {
    for age in [DAY, 7 * DAY] {
        let at = |now: Millis| {
            after(|c| {
                c.lease.expires_at = NOW + age;
                c.now = now;
                c.nonce = None;
            })
        };
        assert!(at(NOW + age - 1000).is_ok());
        assert_eq!(
            at(NOW + age).unwrap_err(),
            VerifyError::Expired { expired_at: NOW + age, now: NOW + age }
        );
        assert!(at(NOW + age + 1000).is_err());
    }
}

#[test]
fn case_015_a_clock_set_back_does_not_revive() {
    let seen = NOW + DAY + 1;
    let now = effective_now(seen - 2 * DAY, seen);
    let error = refused(|c| (c.now, c.nonce) = (now, None));
    assert!(matches!(error, VerifyError::Expired { .. }));
}

#[test]
fn case_016_a_clock_ahead_recovers_with_a_fresh_answer() {
    let ahead = NOW + 3650 * DAY;
    assert!(matches!(refused(|c| (c.now, c.nonce) = (ahead, None)), VerifyError::Expired { .. }));
    assert!(after(|c| c.now = ahead).is_ok(), "the server's clock comes with its answer");
}

#[test]
fn case_017_from_the_future() {
    let issued = |at: Millis| {
        after(|c| {
            c.lease.issued_at = at;
            c.nonce = None;
        })
    };
    assert!(issued(NOW + SKEW).is_ok());
    let error = issued(NOW + 3_600_000).unwrap_err();
    assert_eq!(error, VerifyError::NotYetValid { issued_at: NOW + 3_600_000, now: NOW });
}

#[test]
fn case_018_without_expiry_rollback_still_counts() {
    let never = |c: &mut Case| (c.lease.expires_at, c.now, c.nonce) = (0, NOW + 400 * DAY, None);
    assert!(after(never).is_ok());
    let error = refused(|c| {
        never(c);
        c.marks.seq = 9;
    });
    assert_eq!(error, VerifyError::Rollback { have: 9, got: 6 });
}

#[test]
fn case_019_an_old_answer() {
    assert_eq!(refused(|c| c.nonce = Some(vec![8; 16])), VerifyError::NonceMismatch);
    assert_eq!(refused(|c| c.nonce = Some(vec![])), VerifyError::NonceMismatch);
}

#[test]
fn case_021_fast_forward() {
    let forward = |seq: u64| {
        after(|c| {
            (c.manifest.seq, c.lease.seq) = (seq, seq);
        })
    };
    assert!(forward(6 + MAX_JUMP).is_ok());
    assert_eq!(forward(1 << 63).unwrap_err(), VerifyError::Jump { have: 6, got: 1 << 63 });
}

#[test]
fn case_027_029_a_retired_key_and_a_live_replica() {
    assert_eq!(refused(|c| c.marks.epoch = 4), VerifyError::RetiredKey { have: 4, got: 3 });
    assert!(after(|c| (c.marks.epoch, c.live) = (4, vec![3])).is_ok());
    assert!(matches!(refused(|c| c.epoch = 4), VerifyError::Malformed(_)));
}

#[test]
fn case_005_every_bit_of_a_bundle_of_8_kib() {
    let mut case = Case::new();
    let content = ir::Expr::Const("x".repeat(7000).as_str().into());
    let resource = ir::Resource {
        name: "r".into(),
        kind: "file".into(),
        when: None,
        attributes: vec![("content".into(), content)],
        depends_on: vec![],
        notify: vec![],
    };
    let large = Module { name: "web".into(), depends_on: vec![], resources: vec![resource] };
    let bytes = ir::wire::encode_module(&large).unwrap();
    case.blobs.remove(&case.manifest.modules[1].hash);
    (case.manifest.modules[1].hash, case.manifest.modules[1].size) = (Hash::of(&bytes), bytes.len() as u64);
    case.blobs.insert(Hash::of(&bytes), bytes);
    reroot(&mut case);
    case.marks = Marks { epoch: 3, ..Marks::default() };
    assert!(case.judge().is_ok(), "the positive twin");

    let (manifest, lease) = (case.manifest.seal(&key(1)), case.lease.seal(&key(1)));
    let judge = |manifest: &[u8], lease: &[u8], blobs: &BTreeMap<Hash, Vec<u8>>| {
        verify_bundle(&Inputs {
            cluster_id: "cluster",
            envoy_id: "envoy",
            manifest,
            manifest_key: &trusted(1, 3),
            lease,
            lease_key: &trusted(1, 3),
            live_epochs: &[],
            marks: &case.marks,
            now: NOW,
            nonce: None,
            blob: &|hash| blobs.get(hash).map(Vec::as_slice),
        })
        .map(drop)
    };
    assert_eq!(judge(&manifest, &lease, &case.blobs), Ok(()));
    let (mut flips, mut accepted) = (0, 0);
    for bit in 0..manifest.len() * 8 {
        let mut flipped = manifest.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (flips, accepted) = (flips + 1, accepted + u32::from(judge(&flipped, &lease, &case.blobs).is_ok()));
    }
    for bit in 0..lease.len() * 8 {
        let mut flipped = lease.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (flips, accepted) =
            (flips + 1, accepted + u32::from(judge(&manifest, &flipped, &case.blobs).is_ok()));
    }
    for (hash, bytes) in &case.blobs {
        for bit in 0..bytes.len() * 8 {
            let mut blobs = case.blobs.clone();
            blobs.get_mut(hash).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let refused = verify_modules(&case.manifest, &|hash| blobs.get(hash).map(Vec::as_slice));
            assert!(matches!(refused, Err(VerifyError::DamagedModule(_))), "bit {bit}: {refused:?}");
            flips += 1;
        }
    }
    assert_eq!(accepted, 0);
    assert!(flips >= 60_000, "{flips} flips");
}

#[test]
fn case_008_a_signature_for_something_else() {
    use ir::signing::Domain;
    // The trusted key signed these very bytes, as something that is no bundle.
    for domain in [Domain::Request, Domain::Lease, Domain::Key, Domain::Task, Domain::Enrolment] {
        let case = Case::new();
        let lease = case.lease.seal(&key(1));
        let whole = case.manifest.seal(&key(1));
        let payload = signing::open(&key(1).verifying_key(), Domain::Bundle, &whole).unwrap();
        let judge = |manifest: &[u8]| {
            verify_bundle(&Inputs {
                cluster_id: "cluster",
                envoy_id: "envoy",
                manifest,
                manifest_key: &trusted(1, 3),
                lease: &lease,
                lease_key: &trusted(1, 3),
                live_epochs: &[],
                marks: &case.marks,
                now: NOW,
                nonce: None,
                blob: &|hash| case.blobs.get(hash).map(Vec::as_slice),
            })
            .map(drop)
        };
        assert_eq!(judge(&signing::seal(&key(1), Domain::Bundle, payload)), Ok(()), "the positive twin");
        assert_eq!(
            judge(&signing::seal(&key(1), domain, payload)),
            Err(VerifyError::BadSignature),
            "{domain:?}"
        );
        // The envoy's own key, or that of its TLS certificate: any that is not the server's.
        assert_eq!(judge(&signing::seal(&key(9), Domain::Bundle, payload)), Err(VerifyError::UnknownKey));
    }
}

#[test]
fn case_013_two_modules_of_one_name_are_not_last_wins() {
    let twice = refused(|c| {
        let row = c.manifest.modules[0].clone();
        c.manifest.modules[1] = row;
        reroot(c);
    });
    assert!(matches!(twice, VerifyError::Malformed(_)), "{twice:?}");
    let unsorted = refused(|c| {
        c.manifest.modules.reverse();
        reroot(c);
    });
    assert!(matches!(unsorted, VerifyError::Malformed(_)), "{unsorted:?}");
}
