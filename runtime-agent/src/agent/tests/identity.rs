//! Renewal of the certificate, resets of what was seen, and what every refusal leaves behind.

use super::*;
use crate::renew;
use crate::status::Health;
use protocol::reset::{self, Reset, ResetError};
use rcgen::SigningKey as _;

fn certificate(host: &Host) -> String {
    Identity::load(host.agent.state()).unwrap().certificate_pem
}

#[test]
fn a_certificate_is_renewed_between_half_and_three_quarters_of_its_life() {
    let mut host = host();
    host.server.publish(motd("one"));
    let start = host.clock.now();
    host.turn().unwrap();
    let due = renew::due(&Identity::load(host.agent.state()).unwrap()).unwrap();
    // The certificate says full seconds.
    let (earliest, latest) = (start + 45 * DAY - 2000, start + 90 * DAY * 3 / 4 + 2000);
    assert!((earliest..=latest).contains(&due), "{}", due - start);
    let first = certificate(&host);
    host.clock.set(due - 1);
    host.turn().unwrap();
    assert_eq!((host.server.renewals, certificate(&host) == first), (0, true));

    host.clock.set(due);
    host.turn().unwrap();
    assert_eq!(host.server.renewals, 1);
    let second = Identity::load(host.agent.state()).unwrap();
    assert_ne!(second.certificate_pem, first);
    assert!(second.certificate().unwrap().not_after + 1000 > due + 90 * DAY);
    // From now on it is the only one, for the server too.
    host.turn().unwrap();
    assert_eq!((host.server.envoy_key, host.server.renewals), (second.key.verifying_key(), 1));
    let delivered: Vec<u64> = host.server.reports.iter().map(|r| r.result_seq).collect();
    assert_eq!(delivered, [1, 2, 3, 4], "nothing is lost or numbered anew");
}

#[test]
fn an_answer_that_is_lost_leaves_the_old_certificate_in_use() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    let first = certificate(&host);
    host.pass(70 * DAY);
    host.server.loses_renewals = true;
    for renewals in 1..=2 {
        let cycle = host.turn().unwrap();
        assert!(cycle.check_in.is_ok() && !cycle.summary.offline);
        assert_eq!((host.server.renewals, certificate(&host) == first), (renewals, true));
    }
    host.server.loses_renewals = false;
    host.turn().unwrap();
    assert_ne!(certificate(&host), first);
    host.turn().unwrap();
}

/// Whoever carries the answer can make a certificate for the new key; once it were kept, nobody would know this host any more.
#[test]
fn case_040_a_new_certificate_is_the_cas_and_this_envoys_or_the_old_one_stays() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.pass(70 * DAY);
    let kept = |host: &Host| fs::read(host.agent.state().identity().join("identity.json")).unwrap();
    let before = kept(&host);
    for (forger, named) in [(Some(ca().1), "envoy"), (None, "somebody"), (Some(ca().1), "somebody")] {
        (host.server.forger, host.server.named) = (forger, named);
        host.turn().unwrap();
        assert!(kept(&host) == before, "{named}");
    }
    assert_eq!(host.server.renewals, 3, "each was asked for");
    (host.server.forger, host.server.named) = (None, "envoy");
    host.turn().unwrap();
    assert!(kept(&host) != before, "the twin");
    host.turn().unwrap();
}

#[test]
fn case_035_an_ended_certificate_is_named_with_the_way_back() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.server.max_age = 0;
    host.turn().unwrap();
    let text = |host: &Host| host.agent.status().unwrap().human();
    assert!(text(&host).contains("certificate good until "), "{}", text(&host));
    host.server.down = true;
    host.pass(85 * DAY);
    host.turn().unwrap();
    let (health, why) = host.agent.status().unwrap().health();
    assert_eq!(health, Health::Warning);
    assert!(why.contains("the certificate ends in"), "{why}");

    host.pass(30 * DAY);
    let cycle = host.turn().unwrap();
    let error = cycle.check_in.unwrap_err();
    assert!(matches!(error, CheckInError::CertificateEnded { .. }), "{error}");
    assert!(error.to_string().contains("`vigo enroll --rejoin --token TOKEN`"), "{error}");
    assert_eq!(cycle.summary.totals.ok, 1, "the bundle without an end goes on");
    assert!(text(&host).contains("ENDED 25 d"), "{}", text(&host));
    assert!(!host.agent.verify().unwrap().is_good());
}

/// What the CA says.
fn reset_of(host: &Host, number: u64, min_epoch: u64) -> pb::Reset {
    let sign = |message: &[u8]| host.server.issuer.key().sign(message);
    reset::issue(CLUSTER, Reset { number, min_epoch }, sign).unwrap()
}

/// A host that was led far ahead, and a server that cannot follow.
fn far_ahead() -> Host {
    let mut host = host();
    host.server.publish(motd("one"));
    (host.server.epoch, host.server.seq) = (1 << 20, 1 << 20);
    host.server.key = SigningKey::from_bytes(&[20; 32]);
    host.turn().unwrap();
    assert_eq!(host.store().marks().unwrap().epoch, 1 << 20);
    (host.server.epoch, host.server.seq) = (9, 4);
    host.server.key = SigningKey::from_bytes(&[9; 32]);
    host.server.modules = motd("two");
    host
}

#[test]
fn case_021_a_fast_forward_is_quarantined_and_a_reset_of_the_ca_recovers() {
    let mut host = far_ahead();
    let before = walk_state(&host);
    let session = host.agent.session().unwrap();
    let refused = session.check_in(&mut host.server).unwrap();
    let retired = VerifyError::RetiredKey { have: 1 << 20, got: 9 };
    assert!(matches!(refused, Err(CheckInError::Verify(e)) if e == retired));
    drop(session);
    assert_eq!(walk_state(&host), before, "a refusal changes nothing but the number of the last request");

    host.server.reset = Some(reset_of(&host, 1, 9));
    let cycle = host.turn().unwrap();
    assert_eq!((news(&cycle), host.motd().as_str()), (News::Bundle, "two"));
    let marks = host.store().marks().unwrap();
    assert_eq!((marks.epoch, marks.seq, marks.reset, marks.min_epoch), (9, 4, 1, 9));
    // From there on all is as before: forwards only, and not too far.
    host.server.restart();
    host.server.publish(motd("three"));
    host.turn().unwrap();
    host.server.seq = 4;
    let rollback = host.turn().unwrap().check_in.unwrap_err();
    assert!(
        matches!(rollback, CheckInError::Verify(VerifyError::Rollback { have: 5, got: 4 })),
        "{rollback}"
    );
}

/// What is kept, but for what every turn counts.
fn walk_state(host: &Host) -> (Marks, Option<crate::store::KeyRecord>, Vec<u8>) {
    let store = host.store();
    let cached = store.cached().unwrap().unwrap();
    let marks = Marks { counter: 0, time_floor: 0, result_seq: 0, acknowledged: 0, ..store.marks().unwrap() };
    (marks, store.highest_key().unwrap(), [cached.manifest, cached.lease].concat())
}

#[test]
fn case_021_030_a_reset_that_is_not_the_cas_or_not_new_is_not_followed() {
    let mut host = far_ahead();
    let before = walk_state(&host);
    let mut forged = reset_of(&host, 1, 9);
    forged.ca_signature = host.server.issuer.key().sign(b"something else").unwrap();
    host.server.reset = Some(forged);
    let refused = host.turn().unwrap().check_in.unwrap_err();
    assert!(matches!(refused, CheckInError::Reset(ResetError::OtherCa)), "{refused}");
    assert_eq!(walk_state(&host), before);

    let good = reset_of(&host, 5, 9);
    host.server.reset = Some(good.clone());
    assert_eq!(news(&host.turn().unwrap()), News::Bundle);
    // Played back later, it brings nobody back to where it led then.
    host.server.restart();
    host.server.publish(motd("three"));
    host.turn().unwrap();
    (host.server.epoch, host.server.key) = (9, SigningKey::from_bytes(&[9; 32]));
    for old in [good, reset_of(&host, 4, 2)] {
        host.server.reset = Some(old);
        let refused = host.turn().unwrap().check_in.unwrap_err();
        let retired = VerifyError::RetiredKey { have: 10, got: 9 };
        assert!(matches!(&refused, CheckInError::Verify(e) if *e == retired), "{refused}");
    }
}

#[test]
fn case_028_keys_before_a_reset_are_retired_whoever_lists_them_as_live() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.epoch = 20;
    host.server.key = SigningKey::from_bytes(&[20; 32]);
    host.server.reset = Some(reset_of(&host, 1, 20));
    assert!(host.turn().unwrap().check_in.is_ok());
    let (epoch, key) = (host.server.epoch, host.server.key.clone());
    // The thief of an older key with its own statement.
    (host.server.epoch, host.server.key) = (19, SigningKey::from_bytes(&[19; 32]));
    let refused = host.turn().unwrap().check_in.unwrap_err();
    let retired = VerifyError::RetiredKey { have: 20, got: 19 };
    assert!(matches!(&refused, CheckInError::Verify(e) if *e == retired), "{refused}");
    (host.server.epoch, host.server.key) = (epoch, key);
    assert!(host.turn().unwrap().check_in.is_ok());
}

#[test]
fn a_reset_is_kept_only_with_the_first_bundle_under_it() {
    let mut host = far_ahead();
    host.server.reset = Some(reset_of(&host, 1, 9));
    // The server states its key, and is gone before it sends anything.
    host.server.tamper = |answer| {
        if !matches!(answer, Answer::StaleKey(_)) {
            *answer = Answer::Refusal(pb::Refusal { code: "gone".into(), message: "gone".into() });
        }
    };
    let cycle = host.turn().unwrap();
    assert!(matches!(cycle.check_in, Err(CheckInError::Refused { .. })));
    assert_eq!(cycle.summary.totals.ok, 1, "the cached bundle is good until there is a newer one");
    assert_eq!(host.store().marks().unwrap().reset, 0);
    host.server.tamper = |_| {};
    assert_eq!(news(&host.turn().unwrap()), News::Bundle);
    assert_eq!(host.store().marks().unwrap().reset, 1);
}

#[test]
fn case_030_a_server_that_forgot_an_epoch_is_shown_the_statement_of_it() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.server.restart();
    host.turn().unwrap();
    host.server.lost_epoch = true;
    assert!(host.turn().unwrap().check_in.is_ok());
    let asked = host.server.requests.last().unwrap();
    let shown = asked.seen.as_ref().unwrap();
    assert_eq!(shown, &host.server.statement());
    let key = key_statement::verify(shown, &host.server.ca, CLUSTER, host.clock.now()).unwrap();
    assert_eq!((key.epoch, asked.epoch), (2, 2));
    host.server.lost_epoch = false;
    host.turn().unwrap();
    assert_eq!(host.server.requests.last().unwrap().seen, None, "nobody asked");
}

#[test]
fn another_identity_does_not_inherit_what_was_kept_after_a_crash_in_between() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    assert_eq!(host.store().marks().unwrap().seq, 1);
    // Enrolled again, and dead before the store was begun anew.
    let again = Identity { envoy_id: "another".into(), ..Identity::load(host.agent.state()).unwrap() };
    again.store(host.agent.state()).unwrap();
    let session = host.agent.session().unwrap();
    let marks = session.store.marks().unwrap();
    assert_eq!((marks.seq, marks.epoch, session.store.cached().unwrap().is_none()), (0, 0, true));
    drop(session);
    assert_eq!(host.agent.session().unwrap().store.marks().unwrap(), marks);
}

/// Everything that counts and lies on the disk, but for what changes with the mere sending of a request.
fn on_disk(host: &Host) -> impl PartialEq + std::fmt::Debug + use<> {
    let store = host.store();
    let cached = store.cached().unwrap().unwrap();
    let marks = Marks { counter: 0, ..store.marks().unwrap() };
    let keys = [
        &cached.manifest_key,
        &cached.lease_key,
        &store.highest_key().unwrap(),
        &store.current_key().unwrap(),
    ];
    let identity = fs::read(host.agent.state().identity().join("identity.json")).unwrap();
    let keys = format!("{keys:?}").into_bytes();
    let blobs = cached
        .blobs
        .iter()
        .map(|(named, bytes)| if Hash::of(bytes) == *named { *named } else { Hash::default() });
    (
        marks,
        [cached.manifest, cached.lease].concat(),
        keys,
        blobs.collect::<Vec<Hash>>(),
        store.sealed().unwrap(),
        identity,
    )
}

fn bundle(answer: &mut Answer) -> &mut pb::Bundle {
    match answer {
        Answer::Bundle(bundle) => bundle,
        other => panic!("no bundle to tamper with: {other:?}"),
    }
}

#[test]
fn case_020_every_refusal_leaves_the_disk_as_it_was() {
    type Fault = (fn(&mut Answer), VerifyError);
    let faults: [Fault; 6] = [
        (|a| bundle(a).manifest.clear(), VerifyError::Malformed("not a signed envelope".into())),
        (|a| bundle(a).manifest[37..101].fill(0), VerifyError::Unsigned),
        (|a| bundle(a).lease[60] ^= 1, VerifyError::BadSignature),
        (|a| bundle(a).manifest[5] ^= 1, VerifyError::UnknownKey),
        (|a| bundle(a).modules.clear(), VerifyError::MissingModule("motd".into())),
        (
            |a| {
                let bundle = bundle(a);
                bundle.manifest.clone_from(&bundle.lease);
            },
            VerifyError::BadSignature,
        ),
    ];
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.publish(motd("two"));
    for (fault, reason) in faults {
        let before = on_disk(&host);
        host.server.tamper = fault;
        let session = host.agent.session().unwrap();
        let refused = session.check_in(&mut host.server).unwrap().unwrap_err();
        assert!(matches!(&refused, CheckInError::Verify(e) if *e == reason), "{reason:?}: {refused:?}");
        drop(session);
        assert_eq!(on_disk(&host), before, "{reason:?}");
    }
    host.server.tamper = |_| {};
    let before = on_disk(&host);
    assert_eq!(news(&host.turn().unwrap()), News::Bundle, "the positive twin");
    assert_ne!(on_disk(&host), before);
}

thread_local! {
    static KEPT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn case_031_a_restart_in_the_middle_of_an_answer_mixes_no_two_epochs() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.publish(motd("two"));
    // The manifest of the server as it was, the lease of the one that is there now.
    let old = host.server.manifest().seal(&host.server.key);
    KEPT.with(|kept| *kept.borrow_mut() = old);
    host.server.restart();
    host.server.tamper = |answer| {
        if let Answer::Bundle(bundle) = answer {
            bundle.manifest = KEPT.with(|kept| kept.borrow().clone());
        }
    };
    let before = on_disk(&host);
    let session = host.agent.session().unwrap();
    let refused = session.check_in(&mut host.server).unwrap().unwrap_err();
    assert!(matches!(refused, CheckInError::Verify(VerifyError::UnknownKey)), "{refused:?}");
    drop(session);
    assert_eq!(on_disk(&host), before, "nothing of it is kept");
    assert_eq!(host.motd(), "one");

    host.server.tamper = |_| {};
    assert_eq!(news(&host.turn().unwrap()), News::Bundle);
    let store = host.store();
    let conversation_epochs = (store.marks().unwrap().epoch, host.motd());
    assert_eq!(conversation_epochs, (2, "two".to_owned()));
}
