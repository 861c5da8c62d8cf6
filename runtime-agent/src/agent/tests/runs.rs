//! Turns that end in a run, and what is told of it.

use super::*;

#[test]
fn a_bundle_is_fetched_converged_and_reported() {
    let mut host = host();
    host.server.publish(motd("one"));
    let cycle = host.turn().unwrap();
    assert_eq!(news(&cycle), News::Bundle);
    assert_eq!(cycle.summary.totals.changed, 1);
    assert_eq!(host.motd(), "one");
    assert_eq!(host.server.reports.len(), 1);
    assert_eq!(host.server.reports[0].result_seq, 1);

    let cycle = host.turn().unwrap();
    assert_eq!(news(&cycle), News::Same);
    assert_eq!(cycle.summary.totals.ok, 1);
    assert_eq!(host.server.requests.last().unwrap().traits, None, "the server knows them");
    assert_eq!(host.server.reports[1].result_seq, 2);

    host.server.publish(motd("two"));
    host.turn().unwrap();
    assert_eq!(host.motd(), "two");
    let store = host.store();
    assert_eq!((store.queue().unwrap().waiting, store.marks().unwrap().seq), (0, 2));
    assert_eq!(store.cached().unwrap().unwrap().blobs.len(), 1, "what no bundle needs is gone");
}

#[test]
fn case_054_a_run_that_never_ended_is_reported_as_interrupted() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    let run = Running {
        run_id: "r".into(),
        result_seq: 0,
        started_at: 5,
        policy_version: "v".into(),
        release_serial: 1,
        seq: 1,
        offline: false,
        only: None,
    };
    host.store().begin_run(&run).unwrap();
    host.turn().unwrap();
    let told: Vec<(u64, bool)> = host.server.reports.iter().map(|r| (r.result_seq, r.interrupted)).collect();
    assert_eq!(told, [(1, false), (2, true), (3, false)]);
}

#[test]
fn case_090_093_095_a_secret_reaches_its_file_and_nothing_else() {
    let mut host = host();
    host.server.secrets = vec![("web/db", "canary-4711")];
    let secret = Expr::Const(Value::Secret("web/db".into()));
    let module =
        |content| vec![Module { name: "motd".into(), depends_on: vec![], resources: vec![file(content)] }];
    host.server.publish(module(secret.clone()));
    let cycle = host.turn().unwrap();
    assert_eq!(host.motd(), "canary-4711");
    assert!(!format!("{:?} {:?}", cycle.summary, host.server.reports).contains("canary"));
    for entry in walk(host.agent.state().path()) {
        let bytes = fs::read(&entry).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"canary"), "{}", entry.display());
    }
    // Not delivered: the file stays as it is.
    host.server.tamper = |answer| {
        if let Answer::Bundle(bundle) = answer {
            bundle.secrets.clear();
        }
    };
    host.server.publish(module(Expr::Template(vec![ir::Piece::Text("x".into()), ir::Piece::Emit(secret)])));
    let cycle = host.turn().unwrap();
    let error = cycle.summary.results[0].error.clone().unwrap();
    assert!(error.contains("blocked: secret `web/db` is not available"), "{error}");
    assert_eq!(host.motd(), "canary-4711");
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(walk(&path)) } else { all.push(path) }
    }
    all
}

#[test]
fn case_065_a_second_agent_waits_its_turn() {
    let host = host();
    let first = host.agent.session().unwrap();
    assert_eq!(host.agent.session().err().unwrap().exit_code(), 75);
    drop(first);
    host.agent.session().unwrap();
}

#[test]
fn a_refusal_is_told_and_the_cache_goes_on() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.tamper = |answer| {
        *answer = Answer::Refusal(pb::Refusal {
            code: "no-node-entry".into(),
            message: "no entry\u{1b}[2J".into(),
        });
    };
    let cycle = host.turn().unwrap();
    let error = cycle.check_in.unwrap_err().to_string();
    assert!(error.contains("no entry\\u{1b}"), "{error}");
    assert_eq!(cycle.summary.totals.ok, 1);
    assert!(host.agent.status().unwrap().human().contains("no policy for this host"));
}

#[test]
fn case_034_a_host_that_was_revoked_says_so_everywhere_until_it_is_let_in_again() {
    use crate::status::Health;
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.turns_away = Some("this envoy was revoked\u{1b}[2J");
    fs::write(host.dir.path().join("etc/motd"), "drift").unwrap();
    let before = host.store().contact().unwrap();
    let cycle = host.turn().unwrap();
    assert!(cycle.check_in.is_err() && host.motd() == "one", "what it holds goes on");
    let told = |host: &Host| {
        let status = host.agent.status().unwrap();
        let (health, why) = status.health();
        (health, [why, status.human(), host.agent.doctor().human()])
    };
    let (health, texts) = told(&host);
    assert_eq!(health, Health::Critical);
    for text in texts {
        let hash = protocol::ca_hash(&host.server.ca).unwrap();
        let command = format!(
            "`vigo enroll --force --server fake:1530 --ca-hash {hash} --hostname web-1.test --token TOKEN`"
        );
        assert!(text.contains("this envoy was revoked\\u{1b}[2J") && text.contains(&command), "{text}");
    }
    assert!(!host.agent.doctor().is_good());
    let json = host.agent.status().unwrap().json();
    assert!(json["server"]["turned_away"].as_str().unwrap().starts_with("this envoy"), "{json}");
    assert_eq!(json["health"], "critical");
    // Nobody signed it: all else that is known of the server stays.
    let after = host.store().contact().unwrap();
    assert_eq!(crate::store::Contact { turned_away: None, ..after }, before);

    // Being out of reach says nothing about it, and neither does an open stream of before.
    (host.server.turns_away, host.server.down) = (None, true);
    host.turn().unwrap();
    assert_eq!(told(&host).0, Health::Critical);
    (host.server.down, host.server.stream) = (false, true);
    host.turn().unwrap();
    let (health, texts) = told(&host);
    assert_eq!(health, Health::Ok);
    assert!(texts.iter().all(|text| !text.contains("revoked") && !text.contains("--force")), "{texts:?}");
}

/// Keeps what it is told in words.
#[derive(Default)]
struct Notes(Vec<String>);

impl crate::observe::RunObserver for Notes {
    fn resource(&mut self, _: &crate::observe::ResourceReport) {}

    fn note(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

#[test]
fn a_dry_run_beside_an_agent_at_work_shows_what_its_bundle_would_change() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    fs::write(host.dir.path().join("etc/motd"), "drift").unwrap();
    let at_work = host.agent.session().unwrap();
    let (asked, contact) = (host.server.requests.len(), host.store().contact().unwrap());
    let options = |dry_run| RunOptions { dry_run, ..RunOptions::default() };
    let mut notes = Notes::default();
    let dry = host.agent.run_once(&options(true), &mut notes).unwrap();
    assert_eq!((dry.totals.changed, dry.dry_run, host.motd().as_str()), (1, true, "drift"));
    assert!(notes.0.iter().any(|note| note.contains("an agent is at work")), "{:?}", notes.0);
    assert_eq!((host.server.requests.len(), host.store().contact().unwrap()), (asked, contact));
    assert_eq!(host.store().queue().unwrap().waiting, 0, "no run was begun");
    let unknown = RunOptions { only: Some("nothing".into()), ..options(true) };
    assert_eq!(host.agent.run_once(&unknown, &mut Silent).unwrap_err().exit_code(), 64);
    assert_eq!(host.agent.run_once(&options(false), &mut Silent).unwrap_err().exit_code(), 75);
    host.pass(3 * DAY);
    let error = host.agent.run_once(&options(true), &mut Silent).unwrap_err();
    assert_eq!(error.exit_code(), 69, "what has run out is nothing to converge to: {error}");
    drop(at_work);
}

#[test]
fn a_stop_ends_the_run_before_the_next_resource() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.agent.options.stop.store(true, Ordering::Relaxed);
    let cycle = host.turn().unwrap();
    assert!(cycle.summary.stopped && cycle.summary.results.is_empty());
}

#[test]
fn status_and_verify_tell_what_is_so() {
    let mut host = host();
    let text = |h: &Host| h.agent.status().unwrap().human();
    assert!(text(&host).contains("none yet"), "{}", text(&host));
    host.server.publish(motd("one"));
    host.turn().unwrap();
    assert!(text(&host).contains("release 1, bundle 1 (root "), "{}", text(&host));
    assert!(text(&host).contains("valid for 1 d 0 h more"), "{}", text(&host));
    assert!(host.agent.verify().unwrap().is_good(), "{}", host.agent.verify().unwrap().human());
    host.pass(DAY + 11 * HOUR);
    assert!(text(&host).contains("EXPIRED 11 h 0 m ago: not converging"), "{}", text(&host));
    assert_eq!(host.agent.status().unwrap().health().0, crate::status::Health::Critical);
    assert!(!host.agent.verify().unwrap().is_good());
    let json = host.agent.status().unwrap().json();
    assert_eq!((json["converging"].as_bool(), json["bundle"]["seq"].as_u64()), (Some(false), Some(1)));
}

#[test]
fn case_083_files_of_the_agent_are_its_own() {
    use std::os::unix::fs::MetadataExt;
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    for path in walk(host.agent.state().path()) {
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("etc")).unwrap();
    fs::write(dir.path().join("etc/motd"), "drift").unwrap();
    crate::apply::testing::write(bundle.path(), &motd("one"));
    let agent = Agent::new(AgentOptions { root: dir.path().to_owned(), ..AgentOptions::default() });
    let options = |dry_run| RunOptions { dry_run, ..RunOptions::default() };
    let tree = || {
        let mut all: Vec<_> = walk(dir.path()).into_iter().map(|p| (fs::read(&p).unwrap(), p)).collect();
        all.sort();
        all
    };
    let before = tree();
    let dry = agent.apply(bundle.path(), None, &options(true), &mut Silent).unwrap();
    assert_eq!((dry.totals.changed, tree()), (1, before));
    let real = agent.apply(bundle.path(), None, &options(false), &mut Silent).unwrap();
    assert_eq!(dry.results[0].action, real.results[0].action);
    assert_eq!(agent.apply(bundle.path(), None, &options(false), &mut Silent).unwrap().totals.ok, 1);
}

#[test]
fn back_off_and_jitter_stay_in_their_bounds() {
    for failures in 0..40 {
        let wait = back_off(failures);
        assert!((1000..=300_000).contains(&wait.as_millis()), "{wait:?}");
        let wait = jittered(Duration::from_secs(300), 20);
        assert!((240_000..=360_000).contains(&wait.as_millis()), "{wait:?}");
    }
}

#[test]
fn on_a_stream_only_what_changed_is_told_and_nothing_is_asked_for_nothing() {
    let mut host = host();
    host.server.publish(motd("one"));
    host.server.stream = true;
    let agent = host.agent.clone();
    let mut session = agent.session().unwrap();
    let mut turn = |server: &mut Fake| {
        session.cycle(server, &RunOptions::default(), &mut Silent).unwrap().check_in.unwrap()
    };
    assert_eq!(turn(&mut host.server), News::Bundle);
    let asked = host.server.requests.len();
    // nothing is new: no word but the report, and that is told by what differs from the one before
    for _ in 0..2 {
        host.pass(300_000);
        assert_eq!(turn(&mut host.server), News::Same);
    }
    assert_eq!(host.server.requests.len(), asked);
    assert_eq!(host.store().contact().unwrap().at, host.clock.now(), "it is in touch all the same");
    let told: Vec<_> = host.server.reports.iter().map(|r| (r.result_seq, r.results.len())).collect();
    assert_eq!(told, [(1, 1), (2, 1), (3, 0)], "created, then in order, then the same");
    assert!(host.server.reports[0].delta.is_none() && host.server.reports[2].delta.is_some());
    // a server that does not have the run before gets the whole
    host.server.forgetful = true;
    host.pass(300_000);
    turn(&mut host.server);
    let last = host.server.reports.last().unwrap();
    assert_eq!((last.result_seq, last.results.len(), last.delta.is_none()), (4, 1, true));
    // half of the lease is over: it has something to ask for
    host.pass(20 * 3_600_000);
    assert_eq!(turn(&mut host.server), News::Renewed);
    let renewal = host.server.requests.last().unwrap();
    assert!(renewal.renew && renewal.traits.is_none());
}

/// Ends the agent as soon as a run begins, as a mistake in a provider would.
struct Crash;

impl RunObserver for Crash {
    fn begins(&mut self, _: &str, _: u64) {
        panic!("a mistake of ours");
    }
    fn resource(&mut self, _: &crate::observe::ResourceReport) {}
}

#[test]
fn case_064_a_bundle_that_keeps_ending_the_agent_is_tried_less_and_less_and_told() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let mut host = host();
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.publish(motd("poison"));
    host.server.reports.clear();
    let (mut crashes, mut refused) = (0, 0);
    for _ in 0..200 {
        // It is started again, for more than eight hours.
        host.pass(150_000);
        let turned = catch_unwind(AssertUnwindSafe(|| {
            let mut session = host.agent.session().unwrap();
            session.cycle(&mut host.server, &RunOptions::default(), &mut Crash)
        }));
        match turned {
            Err(_) => crashes += 1,
            Ok(Err(AgentError::Quarantined { seq: 2, count, .. })) => {
                refused += 1;
                assert_eq!(count, crashes);
            }
            Ok(other) => panic!("{other:?}"),
        }
    }
    // 3 at once, then after 10, 20, 40, 80, 160 minutes
    assert_eq!((crashes, refused), (8, 192));
    assert_eq!(host.motd(), "one", "the host stays as the bundle before left it");
    let told: Vec<_> = host.server.reports.iter().map(|r| (r.interrupted, r.seq)).collect();
    assert_eq!(told, vec![(true, 2); 8], "each of them is told to the server");
    let status = host.agent.status().unwrap();
    assert!(
        status.human().contains("QUARANTINED: the agent did not survive it, 8 times"),
        "{}",
        status.human()
    );
    assert_eq!(status.health().0, crate::status::Health::Critical);
    let dry = RunOptions { dry_run: true, ..RunOptions::default() };
    assert!(
        host.agent.session().unwrap().cycle(&mut host.server, &dry, &mut Silent).is_ok(),
        "looking is allowed"
    );

    host.server.publish(motd("two"));
    host.turn().unwrap();
    assert_eq!(host.motd(), "two", "the next release is taken at once");
    assert_eq!(host.store().crashes().unwrap(), crate::store::Crashes::default());
}

#[test]
fn case_063_after_a_day_alone_everything_is_delivered_in_order() {
    let mut host = host();
    host.server.max_age = 0;
    host.server.publish(motd("one"));
    host.turn().unwrap();
    host.server.down = true;
    // As many runs as a day has, without the work of each: what counts is what waits.
    let store = host.store();
    for number in 2..=289u64 {
        let run = Running {
            run_id: format!("run-{number}"),
            result_seq: 0,
            started_at: number,
            policy_version: "v".into(),
            release_serial: 1,
            seq: 1,
            offline: true,
            only: None,
        };
        let run = store.begin_run(&run).unwrap();
        let past = Past {
            run_id: run.run_id.clone(),
            at: number,
            took: 1,
            totals: Default::default(),
            offline: true,
            interrupted: false,
            only: None,
        };
        store.end_run(&run, &pb::RunReport::default(), &past).unwrap();
    }
    host.turn().unwrap();
    assert_eq!(host.store().queue().unwrap().waiting, 289);
    host.server.down = false;
    host.turn().unwrap();
    let order: Vec<u64> = host.server.reports.iter().map(|r| r.result_seq).collect();
    assert_eq!(order, (1..=291).collect::<Vec<_>>());
    assert_eq!(host.store().queue().unwrap().waiting, 0);
}

#[test]
fn case_084_whatever_the_umask_nobody_else_reads_what_is_the_agents_own() {
    use std::os::unix::fs::MetadataExt;
    let mut host = host();
    host.server.publish(motd("one"));
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    host.turn().unwrap();
    host.agent.pause(Duration::from_secs(1), "x").unwrap();
    let path = host.agent.state().store();
    fs::write(&path, vec![0xA5; fs::read(&path).unwrap().len()]).unwrap();
    host.turn().unwrap();
    nix::sys::stat::umask(before);
    let files = walk(host.agent.state().path());
    assert!(files.len() > 5, "store, damaged store, marks, lock, reserve, identity: {files:?}");
    for path in files {
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{}", path.display());
    }
    for directory in [host.agent.state().path().to_owned(), host.agent.state().identity()] {
        let mode = fs::metadata(&directory).unwrap().mode() & 0o777;
        assert!(mode == 0o700 || !directory.is_dir(), "{} {mode:o}", directory.display());
    }
}
