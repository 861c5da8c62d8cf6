//! Streams that stay open: who keeps one, and how check-ins, reports and news travel on it.

use crate::dispatch::{QUICK, Stream, asked, ordered, uptime};
use crate::harness::*;
use ir::{Hash, Value, wire};
use prost::Message;
use protocol::delta;
use protocol::pb::agent_frame::What as Said;
use protocol::pb::check_in_reply::Answer;
use protocol::pb::report_reply::Answer as Reported;
use protocol::pb::server_frame::What;
use protocol::pb::{CheckInReply, Outcome, ResourceResult, RunProgress, RunReport, RunTotals, SignedRequest};
use protocol::request::{self, Rpc};
use runtime_server::dispatch::Limits;
use runtime_server::secrets::Backend;
use runtime_server::store::value::Param;
use runtime_server::store::{Database, envoys, pushes, runs};
use runtime_server::testing::module;
use std::time::{Duration, Instant};
use tonic::Code;

impl Stream {
    async fn opened(cluster: &Cluster, agent: &mut Agent) -> Stream {
        let mut stream = Stream::open(cluster, agent, &[]).await.unwrap();
        assert!(matches!(stream.hear().await.unwrap(), Some(What::Opened(_))));
        stream
    }

    async fn check_in(&mut self, agent: &Agent, signed: SignedRequest) -> CheckInReply {
        self.say(agent, Said::CheckIn(signed)).await;
        match self.hear().await.unwrap() {
            Some(What::CheckedIn(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    async fn report(&mut self, cluster: &Cluster, agent: &mut Agent, report: &RunReport) -> Reported {
        let header = agent.header(cluster);
        let signed = request::sign(&agent.key, Rpc::ReportRun, &header, &report.encode_to_vec());
        self.say(agent, Said::Report(signed)).await;
        match self.hear().await.unwrap() {
            Some(What::Reported(reply)) => reply.answer.unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

fn limits(cluster: &Cluster, limits: Limits) {
    *cluster.server().context().dispatch.limits.lock().unwrap() = limits;
}

/// An agent that has its bundle, with a stream.
async fn at_work(cluster: &Cluster, name: &str) -> (Agent, Stream) {
    let mut agent = cluster.agent(name).await;
    agent.bundle(cluster).await;
    let stream = Stream::opened(cluster, &mut agent).await;
    (agent, stream)
}

#[tokio::test]
async fn a_calm_server_keeps_so_many_streams_and_work_gets_one_at_any_rate() {
    let cluster = Cluster::with(|c| c.checkin.streams = 1).await;
    let (mut a, mut b) = (cluster.agent("a").await, cluster.agent("b").await);
    assert!(asked(&cluster, &mut a).await && asked(&cluster, &mut b).await, "there is room");
    limits(&cluster, Limits { heartbeat: QUICK, linger: QUICK, keep: 1 });
    let mut stream = Stream::opened(&cluster, &mut a).await;
    assert!(!asked(&cluster, &mut b).await, "there is none left");
    ordered(&cluster, &b, &uptime()).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !asked(&cluster, &mut b).await {
        assert!(Instant::now() < deadline, "there is work for it");
    }
    // the one that is kept hears nothing but heartbeats, for many times as long as others linger
    let mut beats = 0;
    while beats < 10 {
        match stream.incoming.message().await.unwrap().and_then(|f| f.what) {
            Some(What::Heartbeat(number)) => {
                beats += 1;
                stream.say(&a, Said::Heartbeat(number)).await;
            }
            other => panic!("{other:?}"),
        }
    }
    limits(&cluster, Limits { heartbeat: QUICK, linger: QUICK, keep: 0 });
    assert_eq!(stream.hear().await.unwrap(), Some(What::Release(protocol::pb::Unit {})));
    cluster.stop().await;
}

#[tokio::test]
async fn check_ins_on_a_stream_are_check_ins_and_tell_only_what_changed() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let mut stream = Stream::opened(&cluster, &mut agent).await;
    let signed = agent.signed(&cluster);
    match stream.check_in(&agent, signed.clone()).await.answer {
        Some(Answer::Bundle(bundle)) => drop(agent.take(bundle)),
        other => panic!("{other:?}"),
    }
    // one family of traits changed, one is new
    let whole = |agent: &Agent| wire::encode_value(&agent.traits).unwrap();
    let change = |agent: &mut Agent, load: i64| {
        let before = whole(agent);
        if let Value::Map(map) = &mut agent.traits {
            map.insert("load".into(), Value::Map([("one".into(), Value::Int(load))].into()));
        }
        let after = whole(agent);
        agent.asked.traits_digest = Hash::of(&after).0.to_vec();
        agent.asked.traits_delta = delta::of_traits(&before, &after);
        assert!(agent.asked.traits_delta.as_ref().unwrap().changed.len() < before.len());
    };
    change(&mut agent, 3);
    let asked = agent.signed(&cluster);
    let reply = stream.check_in(&agent, asked).await;
    assert!(matches!(reply.answer, Some(Answer::NoChange(_))), "{reply:?}");
    let stored =
        |cluster: &Cluster, id: &str| cluster.db(|conn| envoys::by_id(conn, id)).unwrap().unwrap().traits;
    let id = agent.reply.envoy_id.clone();
    let deadline = Instant::now() + Duration::from_secs(20);
    while stored(&cluster, &id) != Some(whole(&agent)) {
        assert!(Instant::now() < deadline, "the whole traits are stored");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // the next one is made from what is stored; one that is made from something else has to be told whole
    change(&mut agent, 4);
    let asked = agent.signed(&cluster);
    assert!(matches!(stream.check_in(&agent, asked).await.answer, Some(Answer::NoChange(_))));
    change(&mut agent, 5);
    change(&mut agent, 6);
    let asked = agent.signed(&cluster);
    assert!(matches!(stream.check_in(&agent, asked).await.answer, Some(Answer::NeedTraits(_))));
    agent.asked.traits_delta = None;
    agent.asked.traits_digest.clear();
    let asked = agent.signed(&cluster);
    assert!(matches!(stream.check_in(&agent, asked).await.answer, Some(Answer::NoChange(_))));

    // the rules of requests hold here as well: what was used once ends the stream
    stream.say(&agent, Said::CheckIn(signed)).await;
    assert_eq!(reason(&stream.end().await), (Code::Aborted, "replay"));
    cluster.stop().await;
}

#[tokio::test]
async fn case_041_a_check_in_for_another_envoy_ends_the_stream() {
    let cluster = Cluster::start().await;
    let (a, mut stream) = at_work(&cluster, "a").await;
    let mut b = cluster.agent("b").await;
    let foreign = b.signed(&cluster);
    stream.say(&a, Said::CheckIn(foreign)).await;
    assert_eq!(reason(&stream.end().await), (Code::PermissionDenied, "wrong-envoy"));
    // its twin, on a stream of its own
    let mut own = Stream::opened(&cluster, &mut b).await;
    b.asked.traits_digest.clear();
    let signed = b.signed(&cluster);
    assert!(matches!(own.check_in(&b, signed).await.answer, Some(Answer::Bundle(_))));
    cluster.stop().await;
}

#[tokio::test]
async fn case_077_answers_that_are_not_read_do_not_pile_up() {
    let cluster = Cluster::start().await;
    let large = module("large", &"x".repeat(3 << 20));
    cluster.policy.edit(|p| p.modules.push(large));
    cluster.server().reload().await.unwrap();
    limits(&cluster, Limits { heartbeat: QUICK, linger: HOUR, keep: 9 });
    let mut agent = cluster.agent("web-01").await;
    let mut stream = Stream::opened(&cluster, &mut agent).await;
    // each asks for 3 MB, and none of the answers is read
    for _ in 0..40 {
        let signed = agent.signed(&cluster);
        stream.say(&agent, Said::CheckIn(signed)).await;
    }
    let context = cluster.server().context();
    eventually(|| context.dispatch.streams() == 0).await;
    let mut answers = 0;
    while let Ok(Ok(Some(frame))) =
        tokio::time::timeout(Duration::from_secs(5), stream.incoming.message()).await
    {
        answers += usize::from(matches!(frame.what, Some(What::CheckedIn(_))));
    }
    assert!((1..4).contains(&answers), "{answers} answers waited");
    // its twin reads, and gets every one
    limits(&cluster, Limits::default());
    let mut stream = Stream::opened(&cluster, &mut agent).await;
    for _ in 0..5 {
        let signed = agent.signed(&cluster);
        assert!(matches!(stream.check_in(&agent, signed).await.answer, Some(Answer::Bundle(_))));
    }
    cluster.stop().await;
}

fn result(resource: &str, outcome: Outcome, duration_ms: u32) -> ResourceResult {
    ResourceResult {
        module: "base".into(),
        resource: resource.into(),
        r#type: "file".into(),
        outcome: outcome.into(),
        duration_ms,
        ..ResourceResult::default()
    }
}

fn report(seq: u64, results: Vec<ResourceResult>) -> RunReport {
    let count = |of: Outcome| results.iter().filter(|r| r.outcome() == of).count() as u32;
    RunReport {
        run_id: uuid::Uuid::now_v7().to_string(),
        result_seq: seq,
        started_at: 1,
        totals: Some(RunTotals {
            ok: count(Outcome::Ok),
            changed: count(Outcome::Changed),
            ..RunTotals::default()
        }),
        results,
        ..RunReport::default()
    }
}

#[tokio::test]
async fn a_report_tells_what_differs_and_is_stored_whole() {
    let cluster = Cluster::start().await;
    let (mut agent, mut stream) = at_work(&cluster, "web-01").await;
    let all = |took: u32| vec![result("a", Outcome::Ok, took), result("b", Outcome::Ok, took)];
    let first = report(1, all(1));
    assert_eq!(stream.report(&cluster, &mut agent, &first).await, Reported::AcknowledgedSeq(1));
    let mut second = report(2, all(2));
    second.results[1] = ResourceResult { action: "created".into(), ..result("b", Outcome::Changed, 9) };
    second.totals = Some(RunTotals { ok: 1, changed: 1, ..RunTotals::default() });
    let told = delta::of_report(&first, &second).unwrap();
    assert_eq!(told.results.len(), 1);
    assert_eq!(stream.report(&cluster, &mut agent, &told).await, Reported::AcknowledgedSeq(2));
    let id = agent.reply.envoy_id.clone();
    let rows = |run: &str| cluster.db(|conn| runs::results(conn, &id, run)).unwrap();
    let stored: Vec<_> =
        rows(&second.run_id).into_iter().map(|r| (r.resource, r.outcome, r.action, r.duration_ms)).collect();
    assert_eq!(
        stored,
        [
            ("a".to_owned(), "ok".to_owned(), String::new(), 2),
            ("b".to_owned(), "changed".to_owned(), "created".to_owned(), 9)
        ]
    );
    // the same run once more, told whole and on its own: the same run
    assert_eq!(agent.report(&cluster, &second).await.unwrap(), 2);
    let digest = |run: &str| {
        let sql = "select digest from runs where run_id = $1";
        cluster.db(|conn| conn.value::<Hash>(sql, &[Param::Text(run.into())])).unwrap()
    };
    assert_eq!(digest(&second.run_id), Some(Hash::of(&second.encode_to_vec())));

    // made from a run that the server does not have, or has otherwise
    let third = report(3, all(3));
    let unknown = delta::of_report(&report(2, all(2)), &third).unwrap();
    assert!(matches!(stream.report(&cluster, &mut agent, &unknown).await, Reported::NeedWhole(_)));
    let mut forged = delta::of_report(&second, &third).unwrap();
    forged.results[0].action = "something else".into();
    assert!(matches!(stream.report(&cluster, &mut agent, &forged).await, Reported::NeedWhole(_)));
    assert!(rows(&third.run_id).is_empty());
    assert_eq!(stream.report(&cluster, &mut agent, &third).await, Reported::AcknowledgedSeq(3));
    cluster.stop().await;
}

#[tokio::test]
async fn a_run_is_seen_while_it_happens() {
    let cluster = Cluster::start().await;
    let (mut agent, mut stream) = at_work(&cluster, "web-01").await;
    let (context, id) = (cluster.server().context(), agent.reply.envoy_id.clone());
    assert_eq!(context.dispatch.running(&id), None);
    let run = report(1, vec![result("a", Outcome::Changed, 1), result("b", Outcome::Ok, 1)]);
    let progress = |done, results: &[ResourceResult]| {
        Said::Progress(RunProgress {
            run_id: run.run_id.clone(),
            started_at: 1,
            done,
            results: results.to_vec(),
        })
    };
    stream.say(&agent, progress(0, &[])).await;
    stream.say(&agent, progress(1, &run.results[..1])).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    let seen = loop {
        match context.dispatch.running(&id).filter(|run| run.done == 1) {
            Some(running) => break running,
            None => assert!(Instant::now() < deadline, "it is seen"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!((&seen.run_id, seen.results.as_slice()), (&run.run_id, &run.results[..1]));
    // however much an agent says, little of it is remembered
    let long = ResourceResult { error: "x".repeat(100_000), ..run.results[0].clone() };
    stream.say(&agent, progress(2, &vec![long; 100])).await;
    stream.say(&agent, progress(3, &vec![run.results[0].clone(); 150])).await;
    assert_eq!(stream.report(&cluster, &mut agent, &run).await, Reported::AcknowledgedSeq(1));
    assert_eq!(context.dispatch.running(&id), None, "its report says it all");
    cluster.stop().await;
}

/// The next word that is no heartbeat within so many of them.
async fn within(stream: &mut Stream, agent: &Agent, beats: usize) -> Option<What> {
    let mut heard = 0;
    while heard < beats {
        match stream.incoming.message().await.unwrap().and_then(|f| f.what) {
            Some(What::Heartbeat(number)) => {
                heard += 1;
                stream.say(agent, Said::Heartbeat(number)).await;
            }
            other => return other,
        }
    }
    None
}

#[tokio::test]
async fn only_what_changes_an_envoy_is_told_to_it_and_a_push_always() {
    let cluster = Cluster::start().await;
    limits(&cluster, Limits { heartbeat: QUICK, linger: HOUR, keep: 9 });
    let (mut agent, mut stream) = at_work(&cluster, "web-01").await;
    let changed = Some(What::PolicyChanged(protocol::pb::Unit {}));
    // a release that changes nothing for it
    cluster.policy.edit(|p| p.modules.reverse());
    cluster.server().reload().await.unwrap();
    assert_eq!(within(&mut stream, &agent, 25).await, None);
    // one that does
    cluster.policy.edit(|p| p.vars = "other".into());
    cluster.server().reload().await.unwrap();
    assert_eq!(within(&mut stream, &agent, 200).await, changed);
    let signed = agent.signed(&cluster);
    match stream.check_in(&agent, signed).await.answer {
        Some(Answer::Bundle(bundle)) => drop(agent.take(bundle)),
        other => panic!("{other:?}"),
    }
    // a push, by another process
    let id = agent.reply.envoy_id.clone();
    cluster.db(|conn| pushes::ask(conn, &id, 1)).unwrap();
    assert_eq!(within(&mut stream, &agent, 200).await, changed);
    let signed = agent.signed(&cluster);
    assert!(matches!(stream.check_in(&agent, signed).await.answer, Some(Answer::Bundle(_))));
    let signed = agent.signed(&cluster);
    assert!(matches!(stream.check_in(&agent, signed).await.answer, Some(Answer::NoChange(_))));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !cluster.db(pushes::waiting).unwrap().is_empty() {
        assert!(Instant::now() < deadline, "it is done with");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn case_022_a_rotated_secret_is_told_within_an_interval() {
    let cluster = Cluster::with(|c| {
        c.secrets = Backend::Directory(c.tls.ca.with_file_name("secrets"));
        c.checkin.interval = Duration::from_secs(1);
    })
    .await;
    limits(&cluster, Limits { heartbeat: QUICK, linger: HOUR, keep: 9 });
    let file = cluster.config.tls.ca.with_file_name("secrets").join("password");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let rotate = |value: &str| {
        use std::os::unix::fs::OpenOptionsExt;
        let new = file.with_extension("new");
        let mut open = std::fs::OpenOptions::new();
        let mut written = open.write(true).create(true).truncate(true).mode(0o600).open(&new).unwrap();
        std::io::Write::write_all(&mut written, value.as_bytes()).unwrap();
        std::fs::rename(new, &file).unwrap();
    };
    rotate("one");
    cluster.policy.edit(|p| p.secrets = vec!["password".into()]);
    cluster.server().reload().await.unwrap();
    let (agent, mut stream) = at_work(&cluster, "web-01").await;
    assert_eq!(within(&mut stream, &agent, 25).await, None);
    rotate("two");
    let told = within(&mut stream, &agent, 200).await;
    assert_eq!(told, Some(What::PolicyChanged(protocol::pb::Unit {})));
    cluster.stop().await;
}

#[tokio::test]
async fn a_push_at_one_server_reaches_the_stream_at_another() {
    let one = Cluster::start().await;
    if let Database::Sqlite(_) = one.config.database {
        return one.stop().await;
    }
    let two = one.beside().await;
    let mut agent = two.agent("web-01").await;
    agent.bundle(&two).await;
    let mut stream = Stream::opened(&two, &mut agent).await;
    let id = agent.reply.envoy_id.clone();
    let asked = one.server().context().store.call({
        let id = id.clone();
        move |conn| pushes::ask(conn, &id, 1)
    });
    asked.await.unwrap();
    assert_eq!(stream.hear().await.unwrap(), Some(What::PolicyChanged(protocol::pb::Unit {})));
    let signed = agent.signed(&two);
    assert!(matches!(stream.check_in(&agent, signed).await.answer, Some(Answer::Bundle(_))));
    // and nobody pushes it once more
    assert!(one.db(pushes::waiting).unwrap().is_empty());
    let forced = |cluster: &Cluster| {
        cluster.server().context().fleet.get(&id).is_some_and(|envoy| envoy.state().forced)
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while forced(&one) || forced(&two) {
        assert!(Instant::now() < deadline, "they have heard that it has it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    one.stop().await;
    two.stop().await;
}
