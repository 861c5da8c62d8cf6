use crate::harness::*;
use prost::Message;
use protocol::pb::{Outcome, ResourceResult, RunReport, RunTotals};
use protocol::request::{self, Rpc};
use runtime_server::status::{Drift, Health, RUNS, Reachability, Status};
use runtime_server::store::{envoys, runs};
use std::time::Duration;
use tonic::Code;

fn report(seq: u64, changed: u32, failed: u32) -> RunReport {
    RunReport {
        run_id: uuid::Uuid::now_v7().to_string(),
        result_seq: seq,
        started_at: 1,
        totals: Some(RunTotals { ok: 5, changed, failed, skipped: 0 }),
        results: vec![ResourceResult {
            module: "motd".into(),
            resource: "motd".into(),
            r#type: "file".into(),
            outcome: Outcome::Changed.into(),
            error: "x".repeat(10_000),
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[tokio::test]
async fn case_056_a_report_is_stored_once_also_across_a_restart() {
    let mut cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    agent.bundle(&cluster).await;
    let first = report(1, 1, 0);
    for _ in 0..3 {
        assert_eq!(agent.report(&cluster, &first).await.unwrap(), 1);
    }
    cluster.restart().await;
    let signed = agent.signed(&cluster);
    let answer = agent.send(&cluster, signed).await.unwrap().answer.unwrap();
    let protocol::pb::check_in_reply::Answer::StaleKey(statement) = answer else { panic!() };
    agent.trusted = trust(&cluster, &statement);
    assert_eq!(agent.report(&cluster, &first).await.unwrap(), 1);
    assert_eq!(agent.report(&cluster, &report(2, 0, 0)).await.unwrap(), 2);
    let stored = cluster.db(|conn| runs::latest(conn, &agent.reply.envoy_id, 99)).unwrap();
    assert_eq!(stored.iter().map(|r| r.result_seq).collect::<Vec<_>>(), [2, 1]);
    let results = cluster.db(|conn| runs::results(conn, &agent.reply.envoy_id, &first.run_id)).unwrap();
    assert_eq!((results.len(), results[0].error.len()), (1, 4096));
    cluster.stop().await;
}

#[tokio::test]
async fn case_057_two_drainers_at_once_each_report_ten_times_and_out_of_order() {
    let one = Cluster::start().await;
    let mut agent = one.agent("web-01").await;
    let reports: Vec<RunReport> = (1..=12).map(|seq| report(seq, 1, 0)).collect();
    for round in 0..10usize {
        // At once, and every time in another order; the window of counters is 64 wide.
        let mut under_way = tokio::task::JoinSet::new();
        for at in 0..reports.len() {
            for drainer in [0, 5] {
                let report = &reports[(at * 7 + round + drainer) % reports.len()];
                let header = agent.header(&one);
                let signed = request::sign(&agent.key, Rpc::ReportRun, &header, &report.encode_to_vec());
                let mut client = agent.client(&one).await;
                under_way.spawn(async move { client.report_run(signed).await });
            }
        }
        while let Some(done) = under_way.join_next().await {
            done.unwrap().unwrap();
        }
    }
    let id = &agent.reply.envoy_id;
    let stored = one.db(|conn| runs::latest(conn, id, 999)).unwrap();
    let numbers: Vec<u64> = stored.iter().map(|r| r.result_seq).collect();
    assert_eq!(numbers, (1..=12).rev().collect::<Vec<_>>());
    for run in &stored {
        assert_eq!(one.db(|conn| runs::results(conn, id, &run.run_id)).unwrap().len(), 1);
    }
    assert!(one.db(|conn| runs::lost(conn, id)).unwrap().is_empty());
    assert_eq!(agent.report(&one, &report(13, 0, 0)).await.unwrap(), 13);
    one.stop().await;
}

#[tokio::test]
async fn case_041_nobody_reports_for_another() {
    let cluster = Cluster::start().await;
    let (mut a, b) = (cluster.agent("a").await, cluster.agent("b").await);
    let own = std::mem::replace(&mut a.reply.envoy_id, b.reply.envoy_id.clone());
    refused(a.report(&cluster, &report(1, 0, 0)).await, Code::PermissionDenied, "wrong-envoy");
    a.reply.envoy_id = own;
    a.report(&cluster, &report(1, 0, 0)).await.unwrap();
    assert!(cluster.db(|conn| runs::latest(conn, &b.reply.envoy_id, 9)).unwrap().is_empty());
    cluster.stop().await;
}

#[tokio::test]
async fn reports_that_are_none() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("a").await;
    let bad = [
        RunReport { run_id: "../x".into(), ..report(1, 0, 0) },
        report(0, 0, 0),
        report(u64::MAX, 0, 0),
        report((1 << 53) + 1, 0, 0),
        RunReport { dropped: Some(protocol::pb::Dropped { from_seq: 1, to_seq: 3 }), ..report(2, 0, 0) },
        RunReport { started_at: u64::MAX, ..report(1, 0, 0) },
        RunReport { dropped: Some(protocol::pb::Dropped { from_seq: 3, to_seq: 1 }), ..report(1, 0, 0) },
    ];
    for report in bad {
        refused(agent.report(&cluster, &report).await, Code::InvalidArgument, "malformed");
    }
    assert_eq!(agent.report(&cluster, &report(1, 0, 0)).await.unwrap(), 1);
    cluster.stop().await;
}

#[tokio::test]
async fn a_run_is_one_run_however_its_id_is_written() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("a").await;
    let first = report(1, 0, 0);
    let id = uuid::Uuid::parse_str(&first.run_id).unwrap();
    for run_id in
        [id.to_string(), id.to_string().to_uppercase(), id.simple().to_string(), id.urn().to_string()]
    {
        agent.report(&cluster, &RunReport { run_id, ..first.clone() }).await.unwrap();
    }
    let stored = cluster.db(|conn| runs::latest(conn, &agent.reply.envoy_id, 9)).unwrap();
    assert_eq!(stored.iter().map(|r| r.run_id.as_str()).collect::<Vec<_>>(), [first.run_id.as_str()]);
    cluster.stop().await;
}

#[tokio::test]
async fn status_follows_from_the_runs() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let status = |cluster: &Cluster| {
        cluster.db(|conn| {
            let row = envoys::find(conn, "web-01").unwrap().unwrap();
            let runs = runs::latest_whole(conn, &row.id, RUNS).unwrap();
            Status::of(&row, &runs, cluster.now())
        })
    };
    assert_eq!(
        (status(&cluster).health, status(&cluster).reachability),
        (Health::NoData, Reachability::Offline)
    );
    agent.bundle(&cluster).await;
    agent.report(&cluster, &report(1, 2, 0)).await.unwrap();
    agent.report(&cluster, &report(2, 1, 1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let now = status(&cluster);
    assert_eq!(
        (now.health, now.drift, now.reachability),
        (Health::Degraded, Drift::Relapsed, Reachability::Online)
    );
    agent.report(&cluster, &report(3, 0, 0)).await.unwrap();
    assert!(status(&cluster).compliant());
    let part = RunReport { only: Some("nginx.config".into()), ..report(4, 0, 9) };
    agent.report(&cluster, &part).await.unwrap();
    assert!(status(&cluster).compliant(), "a run of one resource says nothing about the host");
    let all = cluster.db(|conn| runs::latest(conn, &agent.reply.envoy_id, 9)).unwrap();
    assert_eq!(all.first().unwrap().part.as_deref(), Some("nginx.config"));
    cluster.advance(HOUR);
    assert_eq!(status(&cluster).reachability, Reachability::Offline);
    cluster.stop().await;
}
