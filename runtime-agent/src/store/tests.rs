//! What survives: crashes, a full queue, a file that is not what it was.

use super::*;
use crate::converge::Triggers;
use protocol::pb::RunReport;

pub(super) fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&StateDir::below(dir.path()), false, 1).unwrap();
    (dir, store)
}

pub(super) fn running(id: u64) -> Running {
    Running {
        run_id: format!("run-{id}"),
        result_seq: 0,
        started_at: id,
        policy_version: "v".into(),
        release_serial: 1,
        seq: 1,
        offline: true,
        only: None,
    }
}

fn run(store: &Store, id: u64) {
    let run = store.begin_run(&running(id)).unwrap();
    let past = Past {
        run_id: run.run_id.clone(),
        at: id,
        took: 1,
        totals: Default::default(),
        offline: true,
        interrupted: false,
        only: None,
    };
    store.end_run(&run, &RunReport::default(), &past).unwrap();
}

fn drain(store: &Store) -> Vec<RunReport> {
    let mut all = Vec::new();
    while let Some(report) = store.oldest_result().unwrap() {
        store.acknowledge(report.result_seq, report.result_seq).unwrap();
        all.push(report);
    }
    all
}

#[test]
fn case_053_063_results_are_numbered_without_gaps_and_come_in_order() {
    let (_dir, store) = store();
    (1..=30).for_each(|id| run(&store, id));
    assert_eq!(store.queue().unwrap().waiting, 30);
    assert!(store.queue().unwrap().bytes > 0);
    let order: Vec<u64> = drain(&store).iter().map(|r| r.result_seq).collect();
    assert_eq!(order, (1..=30).collect::<Vec<_>>());
    assert_eq!(store.queue().unwrap(), QueueState::default());
    run(&store, 31);
    assert_eq!(drain(&store)[0].result_seq, 31);
    assert_eq!(store.past().unwrap().len(), 10);
}

#[test]
fn case_060_what_does_not_fit_is_folded_and_counted() {
    let (_dir, store) = store();
    store.write(|t| put(t, "test.queue_runs", &5u64.to_be_bytes())).unwrap();
    (1..=20).for_each(|id| run(&store, id));
    let queue = store.queue().unwrap();
    assert_eq!((queue.waiting, queue.dropped), (6, 15));
    let drained = drain(&store);
    let told: Vec<u64> = drained.iter().map(|r| r.result_seq).collect();
    assert_eq!(told, [1, 2, 3, 4, 5, 20]);
    let dropped = drained[5].dropped.unwrap();
    assert_eq!((dropped.from_seq, dropped.to_seq), (6, 20));
    run(&store, 21);
    assert_eq!(drain(&store)[0].dropped, None, "there is room again");
}

#[test]
fn case_057_a_host_that_was_set_back_loses_none_of_its_results() {
    let (_dir, store) = store();
    (1..=4).for_each(|id| run(&store, id));
    // The server has 20 results of this host, from before it was set back.
    assert!(store.acknowledge(1, 20).unwrap());
    assert_eq!(store.queue().unwrap().waiting, 3, "none of them was sent");
    assert!(!store.acknowledge(2, 20).unwrap());
    assert_eq!(store.marks().unwrap().acknowledged, 2);
    let left: Vec<u64> = drain(&store).iter().map(|r| r.result_seq).collect();
    assert_eq!(left, [3, 4]);
    run(&store, 5);
    let next = store.oldest_result().unwrap().unwrap();
    assert_eq!(next.result_seq, 21);
    store.acknowledge(21, 21).unwrap();
    assert_eq!(store.marks().unwrap().acknowledged, 21);
    // A server that makes numbers up does not make the host run out of them.
    run(&store, 6);
    assert!(!store.acknowledge(22, u64::MAX).unwrap());
    assert_eq!(store.marks().unwrap().result_seq, 22);
}

#[test]
fn an_interrupted_run_is_closed_once() {
    let (_dir, store) = store();
    store.begin_run(&running(1)).unwrap();
    assert_eq!(store.close_interrupted().unwrap().unwrap().run_id, "run-1");
    assert_eq!(store.close_interrupted().unwrap(), None);
    let reports = drain(&store);
    assert!(reports.len() == 1 && reports[0].interrupted && reports[0].result_seq == 1);
}

#[test]
fn counters_grow_whatever_the_clock_does() {
    let (_dir, store) = store();
    let numbers: Vec<u64> =
        [100, 50, 50, 200, 1].iter().map(|now| store.next_counter(*now).unwrap()).collect();
    assert_eq!(numbers, [100, 101, 102, 200, 201]);
}

#[test]
fn triggers_outlive_the_process() {
    let (dir, store) = store();
    let names = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<std::collections::BTreeSet<_>>();
    StoreTriggers(&store).earn(&names(&["a.reload", "b.reload"])).unwrap();
    drop(store);
    let store = Store::open(&StateDir::below(dir.path()), false, 2).unwrap();
    assert_eq!(store.triggers().unwrap(), names(&["a.reload", "b.reload"]));
    StoreTriggers(&store).serve(&names(&["a.reload"])).unwrap();
    store.retain_triggers(&|name| name != "b.reload").unwrap();
    assert!(store.triggers().unwrap().is_empty());
}

#[test]
fn the_floor_rises_by_the_clock_and_falls_only_by_the_servers_word() {
    let (_dir, store) = store();
    store.raise_floor(100).unwrap();
    store.raise_floor(50).unwrap();
    assert_eq!(store.marks().unwrap().time_floor, 100);
}

/// A transaction that is cut off anywhere leaves the state before it or after it.
#[test]
fn case_048_a_kill_at_any_write_leaves_old_or_new() {
    let (dir, store) = store();
    run(&store, 1);
    let path = StateDir::below(dir.path()).store();
    let before = std::fs::read(&path).unwrap();
    run(&store, 2);
    let after = std::fs::read(&path).unwrap();
    // Some of the pages of the second transaction made it to the disk, in any order.
    for round in 0u64..40 {
        let mixed: Vec<u8> = before
            .chunks(4096)
            .zip(after.chunks(4096))
            .enumerate()
            .flat_map(|(at, (old, new))| {
                let take_new = Hash::of(format!("{round} {at}").as_bytes()).0[0] < 128;
                // The first page holds the commit pointer: it is written last.
                if at > 0 && take_new { new.to_vec() } else { old.to_vec() }
            })
            .collect();
        let copy = tempfile::tempdir().unwrap();
        let state = StateDir::below(copy.path());
        state.prepare().unwrap();
        std::fs::write(state.store(), &mixed).unwrap();
        let reopened = Store::open(&state, false, 3).unwrap();
        let past = reopened.past().unwrap().len();
        let marks = reopened.marks().unwrap().result_seq;
        assert!(matches!((past, marks), (0, 0) | (1, 1) | (2, 2) | (1, 2)), "{past} runs, mark {marks}");
    }
}

use ir::Hash;

#[test]
fn case_051_a_full_disk_is_told_in_words_that_help() {
    let (_dir, store) = store();
    run(&store, 1);
    let full = store.error(redb::Error::Io(std::io::Error::from_raw_os_error(28)));
    assert!(matches!(full, StoreError::Full(_)));
    assert!(full.to_string().contains("free some space"), "{full}");
    assert_eq!(store.queue().unwrap().waiting, 1);
}
