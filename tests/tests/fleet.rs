//! Virtual fleets against a real server, for what they get, never for how fast.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

use vigo_tests::fleet::scenario::{Findings, Scenario, Size, play};

async fn play_small(scenario: Scenario, envoys: usize, seconds: f64) -> Findings {
    let dir = tempfile::tempdir().unwrap();
    let size = Size { envoys, rate: 60.0, seconds, modules: 10, resources: 10, entries: 3 };
    let findings = play(scenario, size, dir.path()).await.unwrap();
    assert!(findings.failures.is_empty(), "{:#?}\n{:#?}", findings.failures, findings.lines);
    findings
}

#[tokio::test(flavor = "multi_thread")]
async fn case_024_and_076_a_thousand_agents_follow_a_restarted_server() {
    let findings = play_small(Scenario::Storm, 1000, 16.0).await;
    let storm = &findings.document["storm"];
    assert_eq!((&storm["succeeded"], &storm["failed"]), (&1000.into(), &0.into()), "{storm}");
    // One under the old key, which is answered with the new one, and one under that. On a machine with other work some
    // are sent away and come again, once or twice.
    let each = findings.document["requests_each"].as_f64().unwrap();
    assert!((2.0..5.0).contains(&each), "{each}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_ins_with_reports_on_open_connections() {
    let findings = play_small(Scenario::Report, 120, 4.0).await;
    assert_eq!(findings.document["report"]["succeeded"], 240);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_ins_on_connections_that_resume() {
    let findings = play_small(Scenario::Resume, 60, 2.0).await;
    assert_eq!(findings.document["reconnect"]["succeeded"], 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_reaches_the_envoys_that_have_the_module() {
    let findings = play_small(Scenario::Publish, 300, 1.0).await;
    for publish in findings.document["publishes"].as_array().unwrap() {
        assert_eq!(publish["envoys"], 300, "{publish}");
        let changed = publish["changed_envoys"].as_u64().unwrap();
        assert!(0 < changed && changed <= 300, "{publish}");
    }
}
