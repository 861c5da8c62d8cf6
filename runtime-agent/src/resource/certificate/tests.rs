use super::*;
use crate::resource::executor;
use crate::resource::testing::{Sandbox, desired};
use ir::Value;
use rcgen::{BasicConstraints, CertificateParams, IsCa};
use std::fs;
use std::os::unix::fs::MetadataExt;

fn make_ca(s: &Sandbox, to: i32) {
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.not_before = rcgen::date_time_ymd(2000, 1, 1);
    ca.not_after = rcgen::date_time_ymd(to, 1, 1);
    fs::write(s.path("ca.pem"), ca.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(s.path("ca.key"), key.serialize_pem()).unwrap();
}

fn certificate(extra: &[(&str, Value)]) -> Desired {
    let mut d = desired(&[
        ("target_path", "/web.pem".into()),
        ("key_path", "/web.key".into()),
        ("key_mode", "0600".into()),
        ("ca_certificate_path", "/ca.pem".into()),
        ("ca_key_path", "/ca.key".into()),
        ("names", Value::List(vec!["web.test".into(), "10.0.0.1".into()])),
        ("lifetime", "90d".into()),
        ("renew_before", "30d".into()),
        ("chain", false.into()),
    ]);
    extra.iter().for_each(|(name, value)| d.set(name, value.clone(), false));
    d
}

fn mode(s: &Sandbox, path: &str) -> u32 {
    fs::metadata(s.path(path)).unwrap().mode() & 0o777
}

#[test]
fn issued_once_and_anew_when_something_is_wrong() {
    let s = Sandbox::new();
    assert_eq!(
        s.probe("certificate", &certificate(&[])).unwrap().action(),
        "issued",
        "another resource may bring the CA"
    );
    assert!(s.converge("certificate", &certificate(&[])).is_err());
    make_ca(&s, 2100);
    assert_eq!(s.converge("certificate", &certificate(&[])).unwrap().action(), "issued");
    assert_eq!((mode(&s, "web.pem"), mode(&s, "web.key")), (0o644, 0o600));
    let first = fs::read(s.path("web.pem")).unwrap();
    assert!(s.converge("certificate", &certificate(&[])).unwrap().is_clean());
    let anew = |extra: &[(&str, Value)], why: &str| {
        let action = s.converge("certificate", &certificate(extra)).unwrap().action();
        assert_eq!(action, format!("issued anew ({why})"));
        assert!(s.converge("certificate", &certificate(extra)).unwrap().is_clean());
    };
    anew(&[("names", Value::List(vec!["web.test".into(), "www.test".into()]))], "it lacks www.test");
    anew(&[("names", Value::List(vec!["web.test".into()]))], "it has other names");
    assert_ne!(fs::read(s.path("web.pem")).unwrap(), first);
    fs::write(s.path("web.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let alone = [("names", Value::List(vec!["web.test".into()]))];
    anew(&alone, "its key is another one");
    fs::write(s.path("web.pem"), "drift").unwrap();
    anew(&alone, "it is not a certificate");
    make_ca(&s, 2100);
    anew(&alone, "it is not one of this CA that is good now");
    let chained = [alone[0].clone(), ("chain", true.into())];
    assert_eq!(s.converge("certificate", &certificate(&chained)).unwrap().action(), "chain");
    assert_eq!(fs::read_to_string(s.path("web.pem")).unwrap().matches("BEGIN CERTIFICATE").count(), 2);
    let open = [alone[0].clone(), ("chain", true.into()), ("key_mode", "0640".into())];
    assert_eq!(s.converge("certificate", &certificate(&open)).unwrap().action(), "key mode 0600 -> 0640");
}

#[test]
fn renewed_in_time_and_never_beyond_its_ca() {
    let s = Sandbox::new();
    make_ca(&s, 2100);
    s.converge("certificate", &certificate(&[])).unwrap();
    let later = |days: u64| Context { now: 1_700_000_000 + days * 86_400, ..s.context() };
    let probe =
        |days| executor("certificate").unwrap().probe(&later(days), &certificate(&[])).unwrap().action();
    assert_eq!(probe(59), "");
    assert_eq!(probe(61), "issued anew (it ends in 29 d 0 h)");
    assert_eq!(probe(91), "issued anew (it has ended)");
    // A CA that ends soon after today, which is 2023-11-14 here.
    make_ca(&s, 2024);
    let short = certificate(&[("renew_before", "10d".into())]);
    s.converge("certificate", &short).unwrap();
    let der = first(&fs::read_to_string(s.path("web.pem")).unwrap()).unwrap();
    assert_eq!(protocol::certificate::facts(&der).unwrap().not_after, 1_704_067_200_000);
    make_ca(&s, 2023);
    let error = s.converge("certificate", &short).unwrap_err().to_string();
    assert!(error.contains("the CA itself ends"), "{error}");
}

#[test]
fn a_pair_that_is_declared_is_written_and_its_key_never_shown() {
    let s = Sandbox::new();
    let key = KeyPair::generate().unwrap();
    let pem = CertificateParams::new(vec!["web.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    let with = |certificate: &str, key: &str| {
        let mut d = desired(&[
            ("target_path", "/web.pem".into()),
            ("key_path", "/web.key".into()),
            ("key_mode", "0600".into()),
            ("chain", false.into()),
            ("lifetime", "90d".into()),
            ("renew_before", "30d".into()),
            ("certificate", certificate.into()),
        ]);
        d.set("key", key.into(), true);
        d
    };
    let good = with(&pem, &key.serialize_pem());
    let probe = s.converge("certificate", &good).unwrap();
    assert_eq!(probe.action(), "created, key created");
    assert_eq!(mode(&s, "web.key"), 0o600);
    assert_eq!(fs::read_to_string(s.path("web.key")).unwrap(), key.serialize_pem());
    assert!(s.converge("certificate", &good).unwrap().is_clean());
    fs::write(s.path("web.key"), "drift").unwrap();
    let probe = s.converge("certificate", &good).unwrap();
    assert_eq!(probe.action(), "key content changed (sensitive)");
    assert!(probe.diff.is_none());
    for (d, name) in [
        (with(&pem, &KeyPair::generate().unwrap().serialize_pem()), "key"),
        (with(&pem, "no key"), "key"),
        (with("no certificate", &key.serialize_pem()), "certificate"),
    ] {
        match s.probe("certificate", &d) {
            Err(ResourceError::Invalid { name: found, .. }) => assert_eq!(found, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn what_makes_no_certificate_is_said() {
    let s = Sandbox::new();
    make_ca(&s, 2100);
    for (name, value) in [
        ("names", Value::List(vec![])),
        ("names", Value::List(vec!["a b".into()])),
        ("key_mode", "0644".into()),
        ("key_mode", "0620".into()),
        ("lifetime", "20d".into()),
    ] {
        match s.converge("certificate", &certificate(&[(name, value)])) {
            Err(ResourceError::Invalid { name: found, .. }) => assert_eq!(found, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    fs::write(s.path("ca.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let error = s.converge("certificate", &certificate(&[])).unwrap_err().to_string();
    assert!(error.contains("another key than that of the CA"), "{error}");
    make_ca(&s, 2100);
    std::os::unix::fs::symlink("/nowhere", s.path("web.key")).unwrap();
    assert!(matches!(s.converge("certificate", &certificate(&[])), Err(ResourceError::InTheWay { .. })));
}
