//! The rules of at most once and at least once, without a network.

use super::*;
use crate::clock::FixedClock;
use crate::state::StateDir;
use protocol::pb::agent_frame::What;
use protocol::pb::task_work::Work;
use protocol::pb::{TaskCommand, TaskOutput, TaskWork};
use protocol::task::MAX_PIECE_BYTES;
use std::fs;

const ID: &str = "0190d1f0-0000-7000-8000-000000000001";

struct Host {
    dir: tempfile::TempDir,
    clock: Arc<FixedClock>,
}

impl Host {
    fn new() -> Self {
        Host { dir: tempfile::tempdir().unwrap(), clock: Arc::new(FixedClock::at(1000)) }
    }

    fn store(&self) -> Store {
        Store::open(&StateDir::below(self.dir.path()), false, self.clock.now()).unwrap()
    }

    /// The agent starts.
    fn tasks(&self) -> Arc<Tasks> {
        Tasks::open(self.store(), self.dir.path(), self.clock.clone(), Arc::default()).unwrap()
    }

    fn mark(&self) -> String {
        fs::read_to_string(self.dir.path().join("mark")).unwrap_or_default()
    }

    fn order(&self, shell: &str) -> TaskOrder {
        TaskOrder {
            task_id: ID.into(),
            created_at: 1000,
            not_after: 2000,
            work: Some(TaskWork {
                work: Some(Work::Command(TaskCommand {
                    shell: shell.into(),
                    timeout_ms: 20_000,
                    max_output: 200_000,
                    ..TaskCommand::default()
                })),
            }),
            ..TaskOrder::default()
        }
    }
}

fn idempotent(mut order: TaskOrder) -> TaskOrder {
    if let Some(Work::Command(command)) = order.work.as_mut().and_then(|w| w.work.as_mut()) {
        command.idempotent = true;
    }
    order
}

/// Everything a new stream would send until the result.
fn frames(tasks: &Tasks) -> (Vec<TaskOutput>, TaskEnded) {
    let (mut cursors, mut output) = (Cursors::default(), Vec::new());
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match tasks.next_frame(&mut cursors).0.and_then(|f| f.what) {
            Some(What::Output(piece)) => output.push(piece),
            Some(What::Ended(ended)) => return (output, ended),
            Some(_) => {}
            None => std::thread::sleep(Duration::from_millis(5)),
        }
        assert!(Instant::now() < deadline, "no result");
    }
}

#[test]
fn case_066_the_same_task_runs_once() {
    let host = Host::new();
    let tasks = host.tasks();
    let order = host.order("echo ran >> mark; echo out");
    tasks.accept(order.clone());
    tasks.accept(order.clone());
    let (output, ended) = frames(&tasks);
    assert_eq!((ended.outcome(), ended.exit_code, ended.pieces), (TaskOutcome::TaskOk, Some(0), 1));
    assert_eq!(output[0].data, b"out\n");
    // not acknowledged: the next stream brings the same again, also after a restart
    assert_eq!(frames(&tasks), (output.clone(), ended.clone()));
    drop(tasks);
    let tasks = host.tasks();
    assert_eq!(frames(&tasks), (output, ended));
    // ordered again, before and after the server has the result
    tasks.accept(order.clone());
    tasks.acknowledged(ID);
    assert!(!tasks.busy());
    tasks.accept(order.clone());
    let (output, ended) = frames(&tasks);
    assert_eq!((output.len(), ended.outcome()), (0, TaskOutcome::TaskOk));
    tasks.acknowledged(ID);
    // and by a server that replays it later
    host.clock.set(4_000_000);
    let tasks = host.tasks();
    tasks.accept(order);
    assert_eq!(frames(&tasks).1.outcome(), TaskOutcome::TaskOk, "what is on record, not another run");
    assert_eq!(host.mark(), "ran\n");
}

#[test]
fn case_066_an_expired_task_is_refused() {
    let host = Host::new();
    let tasks = host.tasks();
    host.clock.set(2001);
    tasks.accept(host.order("echo ran >> mark"));
    assert_eq!(frames(&tasks).1.outcome(), TaskOutcome::TaskExpired);
    // a clock that is set back does not revive it
    tasks.acknowledged(ID);
    host.store().raise_floor(2001).unwrap();
    host.clock.set(1500);
    tasks.accept(host.order("echo ran >> mark"));
    assert_eq!(frames(&tasks).1.outcome(), TaskOutcome::TaskExpired);
    assert_eq!(host.mark(), "");
}

#[test]
fn case_067_a_crash_between_start_and_end_is_unknown() {
    let host = Host::new();
    let record = TaskRecord { started_at: 1000, not_after: 2000, attempts: 1, ..TaskRecord::default() };
    host.store().begin_task(ID, &record, 1000).unwrap();
    let tasks = host.tasks();
    let (output, ended) = frames(&tasks);
    assert_eq!((output.len(), ended.outcome(), ended.started_at), (0, TaskOutcome::TaskUnknown, 1000));
    tasks.accept(host.order("echo ran >> mark"));
    assert_eq!(host.mark(), "");
    assert_eq!(frames(&tasks).1.outcome(), TaskOutcome::TaskUnknown);
}

#[test]
fn case_067_a_task_that_may_run_again_does() {
    let host = Host::new();
    let order = idempotent(host.order("echo ran >> mark"));
    let record = TaskRecord {
        not_after: 2000,
        attempts: 1,
        order: Some(order.encode_to_vec()),
        ..TaskRecord::default()
    };
    host.store().begin_task(ID, &record, 1000).unwrap();
    assert_eq!(frames(&host.tasks()).1.outcome(), TaskOutcome::TaskOk);
    assert_eq!(host.mark(), "ran\n");
    // but not for ever, and not after its time
    for (attempts, now) in [(MAX_ATTEMPTS, 1000), (1, 2001)] {
        let host = Host::new();
        host.store().begin_task(ID, &TaskRecord { attempts, ..record.clone() }, 1000).unwrap();
        host.clock.set(now);
        assert_eq!(frames(&host.tasks()).1.outcome(), TaskOutcome::TaskUnknown);
        assert_eq!(host.mark(), "");
    }
}

#[test]
fn a_journal_that_was_lost_is_not_taken_for_an_empty_one() {
    let host = Host::new();
    let tasks = host.tasks();
    host.store().begin_lost_journal(1500);
    tasks.accept(host.order("echo ran >> mark"));
    assert_eq!(frames(&tasks).1.outcome(), TaskOutcome::TaskUnknown);
    tasks.acknowledged(ID);
    // Our clock may be behind the one that orders are dated by.
    let later = 1501 + 300_000;
    tasks.accept(TaskOrder { created_at: later, not_after: later, ..host.order("echo ran >> mark") });
    assert_eq!(frames(&tasks).1.outcome(), TaskOutcome::TaskOk);
}

#[test]
fn a_task_in_time_runs_whatever_the_clock_of_the_host_says() {
    let host = Host::new();
    let tasks = host.tasks();
    // By the server's clock there is an hour left; by ours that was long ago.
    let hour = 3_600_000;
    let order =
        TaskOrder { created_at: 10, sent_at: 20, not_after: 20 + hour, ..host.order("echo ran >> mark") };
    host.clock.set(100 * hour);
    tasks.accept(order);
    assert_eq!(frames(&tasks).1.outcome(), TaskOutcome::TaskOk);
}

#[test]
fn output_is_cut_at_its_limit_and_says_so() {
    let host = Host::new();
    let tasks = host.tasks();
    tasks.accept(host.order("head -c 1000000 /dev/zero; echo end >&2"));
    let (output, ended) = frames(&tasks);
    assert_eq!((ended.output_bytes, ended.output_dropped), (1_000_004, 800_004));
    assert_eq!(output.iter().map(|p| p.data.len()).sum::<usize>(), 200_000);
    assert!(output.iter().all(|p| p.data.len() <= MAX_PIECE_BYTES));
    let numbers: Vec<u32> = output.iter().map(|p| p.piece).collect();
    assert_eq!(numbers, (0..ended.pieces).collect::<Vec<_>>());
}

#[test]
fn the_operator_of_a_host_has_the_last_word() {
    let host = Host::new();
    let tasks = host.tasks();
    let path = Settings::path(host.dir.path());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for text in ["{\"tasks\": false}", "{\"tasks\": fals"] {
        fs::write(&path, text).unwrap();
        tasks.accept(host.order("echo ran >> mark"));
        let ended = frames(&tasks).1;
        assert_eq!(ended.outcome(), TaskOutcome::TaskRefused);
        assert!(ended.error.contains("/etc/vigo/agent.json"), "{}", ended.error);
        tasks.acknowledged(ID);
    }
    assert_eq!(host.mark(), "");
    fs::remove_file(&path).unwrap();
    tasks.accept(host.order("echo ran >> mark"));
    assert_eq!(frames(&tasks).1.outcome(), TaskOutcome::TaskOk);
}

#[test]
fn more_than_a_few_wait_for_their_turn() {
    let host = Host::new();
    let tasks = host.tasks();
    for number in 0..10 {
        let task_id = format!("0190d1f0-0000-7000-8000-00000000001{number}");
        tasks.accept(TaskOrder { task_id, ..host.order("sleep 0.1; echo ran >> mark") });
        assert!(lock(&tasks.state).running <= MAX_RUNNING);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while host.mark().lines().count() < 10 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    tasks.settle(Duration::from_secs(10));
    assert_eq!(tasks.unreported().len(), 10);
}

#[test]
fn a_cancelled_task_is_killed_with_its_group_and_stays_on_record() {
    let host = Host::new();
    let tasks = host.tasks();
    tasks.accept(host.order("(sleep 60; echo late >> mark) & echo begun; sleep 60"));
    let mut cursors = Cursors::default();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !matches!(tasks.next_frame(&mut cursors).0.and_then(|f| f.what), Some(What::Output(_))) {
        assert!(Instant::now() < deadline, "it does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    tasks.cancel(ID);
    let (output, ended) = frames(&tasks);
    assert_eq!((ended.outcome(), ended.exit_code), (TaskOutcome::TaskCancelled, None));
    assert_eq!(output[0].data, b"begun\n", "what it wrote until then is kept");
    // a word that comes late changes nothing, and the journal says the same to the next process
    tasks.cancel(ID);
    drop(tasks);
    let tasks = host.tasks();
    assert_eq!(frames(&tasks).1, ended);
    tasks.acknowledged(ID);
    tasks.accept(host.order("echo again >> mark"));
    assert_eq!(frames(&tasks).1.outcome(), TaskOutcome::TaskCancelled);
    assert_eq!(host.mark(), "");
}

#[test]
fn a_task_that_is_cancelled_before_it_begins_never_begins() {
    let host = Host::new();
    let tasks = host.tasks();
    let busy = |n: usize| format!("0190d1f0-0000-7000-8000-0000000001{n:02}");
    for n in 0..MAX_RUNNING {
        tasks.accept(TaskOrder { task_id: busy(n), ..host.order("sleep 60") });
    }
    tasks.accept(host.order("echo ran >> mark"));
    tasks.cancel(ID);
    let never = "0190d1f0-0000-7000-8000-000000000002";
    tasks.cancel(never);
    for n in 0..MAX_RUNNING {
        tasks.cancel(&busy(n));
    }
    tasks.settle(Duration::from_secs(20));
    let (mut cursors, mut ended) = (Cursors::default(), BTreeMap::new());
    while let (Some(frame), _) = tasks.next_frame(&mut cursors) {
        if let Some(What::Ended(e)) = frame.what {
            ended.insert(e.task_id.clone(), e.outcome());
        }
    }
    assert_eq!(ended.len(), MAX_RUNNING + 2);
    assert!(ended.values().all(|outcome| *outcome == TaskOutcome::TaskCancelled), "{ended:?}");
    // also not when it is ordered again
    for id in [ID, never] {
        tasks.acknowledged(id);
        tasks.accept(TaskOrder { task_id: id.into(), ..host.order("echo ran >> mark") });
    }
    tasks.settle(Duration::from_secs(20));
    assert_eq!(host.mark(), "");
}

/// Whoever speaks for the server can take back what it likes, and name what it likes.
#[test]
fn case_068_what_was_never_ordered_is_not_put_on_record_without_end() {
    let host = Host::new();
    let tasks = host.tasks();
    for id in ["", "x", &"7".repeat(1 << 20), "0190d1f0-0000-7000-8000-00000000000\n"] {
        tasks.cancel(id);
    }
    assert!(!tasks.busy(), "no task is called so");
    for n in 0..MAX_WAITING * 3 {
        tasks.cancel(&format!("0190d1f0-0000-7000-8000-{n:012}"));
    }
    assert_eq!(tasks.unreported().len(), MAX_WAITING);
    assert_eq!(host.store().unreported_tasks().unwrap().len(), MAX_WAITING);
    // What was ordered is taken back all the same.
    for n in 0..=MAX_RUNNING {
        let id = format!("0190d1f0-0000-7000-8000-1{n:011}");
        tasks.accept(TaskOrder { task_id: id, ..host.order("sleep 60") });
    }
    for n in 0..=MAX_RUNNING {
        tasks.cancel(&format!("0190d1f0-0000-7000-8000-1{n:011}"));
    }
    tasks.settle(Duration::from_secs(20));
    assert_eq!(tasks.unreported().len(), MAX_WAITING + MAX_RUNNING + 1);
}

#[test]
fn no_piece_ends_within_a_character_and_no_byte_is_lost() {
    let mut open = Open::default();
    let text = "aé€😀".repeat(30_000);
    let bytes: Vec<u8> = text.bytes().chain([0xFF, 0xE2, 0x82]).collect();
    // in parts that cut characters everywhere, mixed with another stream
    for (at, part) in bytes.chunks(997).enumerate() {
        open.take(1, part);
        if at % 50 == 1 {
            open.take(2, "err é".as_bytes());
        }
    }
    open.flush();
    let of = |source: u8| open.pieces.iter().filter(move |p| p.source == source);
    assert_eq!(of(1).flat_map(|p| p.data.clone()).collect::<Vec<u8>>(), bytes);
    let (last, others) = of(1).collect::<Vec<_>>().split_last().map(|(l, o)| (*l, o.to_vec())).unwrap();
    assert!(others.iter().all(|p| std::str::from_utf8(&p.data).is_ok()) && others.len() > 3);
    assert!(String::from_utf8_lossy(&last.data).ends_with("😀\u{FFFD}\u{FFFD}"));
    assert!(of(2).all(|p| p.data == "err é".as_bytes()));
    assert!(open.pieces.iter().all(|p| p.data.len() <= MAX_PIECE_BYTES));
    // what is no text at all is kept as it is
    let mut open = Open::default();
    let noise: Vec<u8> = (0..200_000u32).map(|n| 0xF0 | (n % 16) as u8).collect();
    noise.chunks(1000).for_each(|part| open.take(1, part));
    open.flush();
    assert_eq!(open.pieces.iter().flat_map(|p| p.data.clone()).collect::<Vec<u8>>(), noise);
}

/// Panics where work is done.
struct Treacherous(FixedClock);

impl Clock for Treacherous {
    fn now(&self) -> Millis {
        assert_ne!(std::thread::current().name(), Some("task"), "a mistake of ours");
        self.0.now()
    }

    fn uptime(&self) -> Millis {
        self.0.uptime()
    }
}

#[test]
fn a_mistake_of_ours_costs_one_task_and_no_place() {
    let host = Host::new();
    let clock = Arc::new(Treacherous(FixedClock::at(1000)));
    let tasks = Tasks::open(host.store(), host.dir.path(), clock, Arc::default()).unwrap();
    for number in 0..=MAX_RUNNING {
        let mut order = host.order("true");
        order.task_id = format!("{number}{}", &ID[1..]);
        order.work = Some(TaskWork { work: Some(Work::Query(protocol::pb::TaskQuery::default())) });
        tasks.accept(order);
        let (_, ended) = frames(&tasks);
        assert_eq!(ended.outcome(), TaskOutcome::TaskUnknown, "{ended:?}");
        assert!(ended.error.contains("a mistake"), "{ended:?}");
        tasks.acknowledged(&ended.task_id);
    }
    tasks.settle(Duration::from_secs(20));
    assert_eq!(lock(&tasks.state).running, 0);
}
