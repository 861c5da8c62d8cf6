//! What is believed: keys, bundles, leases, clocks and a store that is not what it was.

use super::*;
use crate::status::Health;

#[test]
fn case_024_a_restarted_server_is_followed_without_a_hand() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.restart();
    let cycle = host.turn().unwrap();
    assert_eq!(news(&cycle), News::Renewed);
    assert_eq!(host.store().marks().unwrap().epoch, 2);
    host.server.down = true;
    assert_eq!(host.turn().unwrap().summary.totals.ok, 1);
}

#[test]
fn case_025_026_a_key_that_nobody_vouches_for_is_not_followed() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.restart();
    let (_, forged) = ed25519();
    host.server.signer = forged;
    let cycle = host.turn().unwrap();
    assert!(matches!(
        cycle.check_in,
        Err(CheckInError::Key(key_statement::KeyStatementError::SignerSignature))
    ));
    assert_eq!(cycle.summary.totals.ok, 1, "the cache is still good");
    assert_eq!(host.store().marks().unwrap().epoch, 1);
}

#[test]
fn case_028_an_older_epoch_is_not_followed() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.server.restart();
    host.turn().unwrap();
    (host.server.epoch, host.server.key) = (1, SigningKey::from_bytes(&[1; 32]));
    let cycle = host.turn().unwrap();
    assert!(matches!(cycle.check_in, Err(CheckInError::Verify(VerifyError::RetiredKey { have: 2, got: 1 }))));
}

#[test]
fn case_001_020_a_rollback_is_refused_and_changes_nothing() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.server.publish(motd("two"));
    host.turn().unwrap();
    let before = host.store().marks().unwrap();
    host.server.seq = 1;
    host.server.modules = motd("one");
    let session = host.agent.session().unwrap();
    let refused = session.check_in(&mut host.server).unwrap();
    assert!(matches!(refused, Err(CheckInError::Verify(VerifyError::Rollback { have: 2, got: 1 }))));
    drop(session);
    assert_eq!(Marks { counter: 0, ..host.store().marks().unwrap() }, Marks { counter: 0, ..before });
    host.turn().unwrap();
    assert_eq!(host.motd(), "two");
}

#[test]
fn case_019_an_old_lease_does_not_renew() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.pass(DAY * 8 / 10);
    host.server.tamper = |answer| {
        if let Answer::NoChange(pb::NoChange { lease: Some(lease), .. }) = answer {
            // An envelope of an earlier answer, kept by somebody in between.
            let seen = SEEN.with(|s| s.borrow().clone());
            *lease = seen;
        }
    };
    SEEN.with(|s| *s.borrow_mut() = host.server.last_lease.clone());
    let cycle = host.turn().unwrap();
    assert!(matches!(cycle.check_in, Err(CheckInError::Verify(VerifyError::NonceMismatch))));
    host.server.tamper = |_| {};
    assert_eq!(news(&host.turn().unwrap()), News::Renewed);
}

thread_local! {
    static SEEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn case_014_015_offline_until_the_promise_runs_out_whatever_the_clock_says() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    let start = host.clock.now();
    host.server.down = true;
    fs::write(host.dir.path().join("etc/motd"), "drift").unwrap();
    host.pass(DAY - 1000);
    let cycle = host.turn().unwrap();
    assert!(cycle.summary.offline);
    assert_eq!((host.motd().as_str(), cycle.summary.totals.changed), ("one", 1));
    host.pass(1000);
    let error = host.turn().unwrap_err();
    assert!(matches!(
        error,
        AgentError::NothingValid { bundle: VerifyError::Expired { .. }, server: Some(_) }
    ));
    assert_eq!(error.exit_code(), 69);
    host.clock.set(start);
    assert!(host.turn().is_err(), "a clock set back does not revive");

    host.clock.set(start + 2 * DAY);
    host.server.down = false;
    let cycle = host.turn().unwrap();
    assert_eq!(news(&cycle), News::Renewed);
    let order: Vec<u64> = host.server.reports.iter().map(|r| r.result_seq).collect();
    assert_eq!(order, [1, 2, 3], "what waited is delivered in order");
    assert!(host.server.reports[1].offline);
}

#[test]
fn case_018_without_expiry_the_cache_is_good_for_ever() {
    let mut host = host();
    host.server.max_age = 0;
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.down = true;
    host.pass(400 * DAY);
    assert_eq!(host.turn().unwrap().summary.totals.ok, 1);
}

#[test]
fn case_011_052_a_rotten_module_is_fetched_again() {
    let mut host = host();
    let mut modules = motd("one");
    modules.push(Module { name: "other".into(), depends_on: vec![], resources: vec![] });
    host.server.publish(modules);
    host.turn().unwrap();
    let store = host.store();
    let good = store.cached().unwrap().unwrap().blobs;
    let rotten = good.keys().next().copied().unwrap();
    store.rot(rotten);
    host.server.down = true;
    assert!(matches!(
        host.turn().unwrap_err(),
        AgentError::NothingValid {
            bundle: VerifyError::MissingModule(_) | VerifyError::DamagedModule(_),
            ..
        }
    ));
    host.server.down = false;
    assert_eq!(news(&host.turn().unwrap()), News::Bundle);
    let request = host.server.requests.last().unwrap();
    assert_eq!((request.held_modules.len(), request.policy_version.as_str()), (1, ""));
    assert_eq!(host.store().cached().unwrap().unwrap().blobs, good);
}

#[test]
fn case_032_a_lost_store_is_noticed() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.server.publish(motd("two"));
    host.turn().unwrap();
    fs::remove_file(host.agent.state().store()).unwrap();
    // The second copy of the marks still knows bundle 2.
    assert_eq!(host.agent.session().unwrap().store.marks().unwrap().seq, 2);
    fs::remove_file(host.agent.state().store()).unwrap();
    fs::remove_file(host.agent.state().marks()).unwrap();
    let error = host.agent.session().err().unwrap();
    assert!(matches!(error, AgentError::Store(StoreError::TrustStateDamaged(_))), "{error}");
}

#[test]
fn case_061_a_damaged_store_is_set_aside_and_the_loss_is_reported() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.down = true;
    host.turn().unwrap();
    let path = host.agent.state().store();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, vec![0xA5; bytes.len()]).unwrap();
    host.server.down = false;
    let cycle = host.turn().unwrap();
    assert_eq!(news(&cycle), News::Bundle);
    let lost: Vec<_> = host.server.reports.iter().filter_map(|r| r.dropped).collect();
    assert_eq!(lost.iter().map(|d| (d.from_seq, d.to_seq)).collect::<Vec<_>>(), [(2, 2)]);
    let kept = fs::read_dir(host.agent.state().path()).unwrap();
    assert!(kept.into_iter().any(|e| e.unwrap().file_name().to_string_lossy().contains("damaged")));
}

#[test]
fn case_016_a_clock_that_was_ahead_does_not_stop_the_host_once_it_is_right() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    let now = host.server.clock.now();
    // The server is out of reach while the clock of the host is a year ahead, and its floor with it.
    host.server.down = true;
    host.pass(365 * DAY);
    assert!(matches!(host.turn(), Err(AgentError::NothingValid { bundle: VerifyError::Expired { .. }, .. })));
    assert!(host.store().marks().unwrap().time_floor > now + 364 * DAY);
    let session = host.agent.session().unwrap();
    assert!(session.signed_time().unwrap() < now + DAY, "a clock does not sign");
    drop(session);
    // Both are right again, at a time at which no renewal is due.
    host.server.clock.set(now + HOUR);
    host.server.down = false;
    let cycle = host.turn().unwrap();
    assert_eq!(news(&cycle), News::Renewed);
    assert!(host.store().marks().unwrap().time_floor < now + DAY, "the server's word lowers the floor");
}

#[test]
fn case_032_a_store_cut_to_nothing_is_no_store() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.down = true;
    host.turn().unwrap();
    let (store, marks) = (host.agent.state().store(), host.agent.state().marks());
    // With the second copy: what was lost is on record, and tasks of before are not begun again.
    fs::write(&store, b"").unwrap();
    let session = host.agent.session().unwrap();
    assert_eq!(session.store.queue().unwrap().waiting, 1, "the run that was not delivered");
    assert!(session.store.journal_begun().unwrap() > 0);
    drop(session);
    // Without it nobody knows what this host has seen; and a second try finds the same.
    fs::write(&store, b"").unwrap();
    fs::remove_file(marks).unwrap();
    for _ in 0..2 {
        let error = host.agent.session().err().unwrap();
        assert!(matches!(error, AgentError::Store(StoreError::TrustStateDamaged(_))), "{error}");
    }
}

#[test]
fn case_061_bytes_flipped_in_any_page_lose_nothing_in_silence() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.down = true;
    host.turn().unwrap();
    host.server.down = false;
    let path = host.agent.state().store();
    let state = host.agent.state().path().to_owned();
    // Copied with their modes: what others can read is refused.
    let copy = tempfile::tempdir().unwrap();
    let files = |dir: &std::path::Path| -> Vec<std::path::PathBuf> {
        let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.is_file()).collect()
    };
    for file in files(&state) {
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    let good = fs::read(&path).unwrap();
    let pages = good.len() / 4096;
    let (mut whole, mut lost) = (0, 0);
    // Every page of the first hundred, and then some of those that are not in use yet.
    for page in (0..pages).filter(|page| *page < 100 || page % 37 == 0) {
        files(&state).iter().for_each(|file| fs::remove_file(file).unwrap());
        for file in files(copy.path()) {
            fs::copy(&file, state.join(file.file_name().unwrap())).unwrap();
        }
        let mut flipped = good.clone();
        flipped[page * 4096..page * 4096 + 64].iter_mut().for_each(|byte| *byte ^= 0xA5);
        fs::write(&path, flipped).unwrap();
        (host.server.counter, host.server.reports) = (0, vec![]);
        host.turn().unwrap_or_else(|e| panic!("page {page}: {e}"));
        let second = host.server.reports.iter().find(|r| r.result_seq == 2).unwrap();
        match second.dropped {
            Some(dropped) => {
                assert_eq!((dropped.from_seq, dropped.to_seq), (2, 2), "page {page}");
                lost += 1;
            }
            None => {
                assert_eq!(second.results[0].resource, "motd", "page {page}");
                whole += 1;
            }
        }
    }
    assert!(whole > 0 && lost > 0, "{whole} pages were not in use, {lost} were");
}

/// Nobody signs what time it is in a refusal. Numbers of requests only grow, so one that followed the end of all days would be the
/// last.
#[test]
fn case_016_a_time_that_cannot_be_does_not_use_up_the_numbers_of_requests() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    let counter = host.server.counter;
    for time in [u64::MAX, u64::MAX - 1, i64::MAX.cast_unsigned(), host.clock.now() + 1000 * DAY] {
        host.server.lies = Some(time);
        let error = host.turn().unwrap().check_in.unwrap_err();
        assert!(matches!(error, CheckInError::Net(NetError::Skew { .. })), "{error}");
    }
    host.server.lies = None;
    let cycle = host.turn().unwrap();
    assert!(cycle.check_in.is_ok() && host.server.counter < counter + 1000, "{}", host.server.counter);
    assert_eq!(host.store().queue().unwrap().waiting, 0);
}

/// A machine without a battery for its clock, after a power cut.
#[test]
fn case_099_a_host_that_starts_in_1970_goes_by_the_time_it_was_told_says_so_and_recovers() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    let told = host.server.clock.now();
    host.server.clock = Arc::new(FixedClock::at(told));
    let known = |host: &Host| {
        let traits = ir::wire::decode_value(host.server.traits.as_ref().unwrap()).unwrap();
        traits.at(&["agent", "clock_untrusted"].map(Into::into)).cloned()
    };
    assert_eq!((host.agent.status().unwrap().clock_behind, known(&host)), (None, Some(false.into())));

    // Started again, and the server is not there: what was promised counts from the time that is on record.
    host.clock.set(20_000);
    host.server.down = true;
    fs::write(host.dir.path().join("etc/motd"), "drift").unwrap();
    host.turn().unwrap();
    assert_eq!(host.motd(), "one");
    let status = host.agent.status().unwrap();
    assert_eq!(status.clock_behind, Some(told - 20_000));
    assert_eq!(status.json()["clock_untrusted"], true);
    let (health, why) = status.health();
    assert!(health == Health::Warning && why.starts_with("clock_untrusted: the clock is "), "{why}");

    // It is there again, a month later by its own clock, with another key.
    let month = told + 30 * DAY;
    host.server.down = false;
    host.server.clock.set(month);
    host.server.restart();
    host.server.publish(motd("two"));
    let cycle = host.turn().unwrap();
    assert_eq!((news(&cycle), host.motd().as_str()), (News::Bundle, "two"));
    assert_eq!(host.store().marks().unwrap().time_floor, month);
    assert_eq!(host.agent.session().unwrap().signed_time().unwrap(), month);
    assert_eq!((known(&host), host.store().queue().unwrap().waiting), (Some(true.into()), 0));

    // As soon as the clock is right there is nothing more to say.
    host.clock.set(month + HOUR);
    host.server.clock.set(month + HOUR);
    host.turn().unwrap();
    assert_eq!((host.agent.status().unwrap().clock_behind, known(&host)), (None, Some(false.into())));
}

#[test]
fn case_099_a_promise_runs_out_also_on_a_host_whose_clock_stands_in_1970() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.down = true;
    host.clock.set(0);
    let mut session = host.agent.session().unwrap();
    let mut turn = |uptime: Millis| {
        host.clock.run_for(uptime);
        session.cycle(&mut host.server, &RunOptions::default(), &mut Silent)
    };
    for hours in 0..=23 {
        turn(hours * HOUR).unwrap();
    }
    turn(24 * HOUR + HOUR / 2).unwrap();
    assert!(matches!(
        turn(25 * HOUR),
        Err(AgentError::NothingValid { bundle: VerifyError::Expired { .. }, .. })
    ));
}
