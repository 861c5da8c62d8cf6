//! Work that the server orders: at most once on this host, its result at least once to the server.
//!
//! A task is on record before it begins and its result is on record before it is reported. What happens to
//! the stream meanwhile does not matter: the next one brings everything that was not acknowledged.

mod delivery;
mod run;

pub use delivery::Cursors;

use crate::clock::{Clock, Millis};
use crate::settings::Settings;
use crate::store::{Begun, Journalled, Piece, Store, StoreError, TaskRecord};
use crate::text::{bounded, printable};
use crate::verify::effective_now;
use prost::Message;
use protocol::pb::{OutputSource, TaskEnded, TaskOrder, TaskOutcome};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Tasks that run at the same time; more wait for their turn.
const MAX_RUNNING: usize = 4;
/// Orders that wait at most; the server keeps the others.
const MAX_WAITING: usize = 64;
/// How often an idempotent task is begun when the agent keeps dying.
const MAX_ATTEMPTS: u32 = 3;
/// Bytes of an error in a result.
const MAX_ERROR: usize = 2000;

/// The tasks of this host; see the module.
pub struct Tasks {
    store: Store,
    root: PathBuf,
    clock: Arc<dyn Clock>,
    stop: Arc<AtomicBool>,
    state: Mutex<State>,
    /// Somebody may have something to send.
    pub changed: tokio::sync::Notify,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    /// Begun, or refused, and not acknowledged.
    open: BTreeMap<String, Open>,
    waiting: VecDeque<TaskOrder>,
    running: usize,
}

/// A task whose result the server does not have.
#[derive(Default)]
struct Open {
    /// None of a task that did not begin here.
    started_at: Option<Millis>,
    pieces: Vec<Piece>,
    /// Beginnings of characters that were written so far, by source: the rest is still to come.
    unfinished: BTreeMap<u8, Vec<u8>>,
    /// When the last piece was begun, while it may still grow.
    growing: Option<Instant>,
    ended: Option<TaskEnded>,
    /// It was taken back.
    cancel: Arc<AtomicBool>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // No critical section here leaves the state half-changed.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tasks {
    /// Takes up what the last process left: a task that had begun and not ended is reported as `unknown`, for it may
    /// have run; only one that was marked so is begun again.
    pub fn open(
        store: Store,
        root: &Path,
        clock: Arc<dyn Clock>,
        stop: Arc<AtomicBool>,
    ) -> Result<Arc<Self>, StoreError> {
        let tasks = Arc::new(Tasks {
            store,
            root: root.to_owned(),
            clock,
            stop,
            state: Mutex::default(),
            changed: tokio::sync::Notify::new(),
            idle: Condvar::new(),
        });
        for journalled in tasks.store.unreported_tasks()? {
            tasks.take_up(journalled)?;
        }
        Ok(tasks)
    }

    fn now(&self) -> Millis {
        let floor = self.store.marks().map_or(0, |marks| marks.time_floor);
        effective_now(self.clock.now(), floor)
    }

    fn take_up(self: &Arc<Self>, task: Journalled) -> Result<(), StoreError> {
        if task.record.ended.is_some() {
            lock(&self.state).open.insert(task.id.clone(), reported(task));
            return Ok(());
        }
        let record = &task.record;
        let order = record.order.as_deref().and_then(|bytes| TaskOrder::decode(bytes).ok());
        match order {
            Some(order)
                if record.attempts < MAX_ATTEMPTS
                    && self.now() <= record.not_after
                    && self.commands_allowed().is_ok() =>
            {
                tracing::warn!("task {}: the agent died while it ran; it may run again and does", task.id);
                let again =
                    TaskRecord { attempts: record.attempts + 1, started_at: self.now(), ..record.clone() };
                self.store.keep_task(&task.id, &again, &[])?;
                let mut state = lock(&self.state);
                self.run(&mut state, order, again);
            }
            _ => {
                tracing::warn!("task {}: the agent died while it ran; it is reported as unknown", task.id);
                let ended = TaskEnded {
                    error: "the agent died while it ran: it may have run, wholly or partly".to_owned(),
                    started_at: record.started_at,
                    ..result(&task.id, TaskOutcome::TaskUnknown)
                };
                self.finish(&task.id, record, ended);
            }
        }
        Ok(())
    }

    /// Whether anything is left to run or to report.
    pub fn busy(&self) -> bool {
        let state = lock(&self.state);
        !state.open.is_empty() || !state.waiting.is_empty()
    }

    /// Begun and not acknowledged.
    pub fn unreported(&self) -> Vec<String> {
        lock(&self.state).open.keys().cloned().collect()
    }

    /// Whether commands are run at all; why not, otherwise.
    pub fn commands_allowed(&self) -> Result<(), String> {
        match Settings::load(&self.root) {
            Ok(settings) if settings.tasks => Ok(()),
            Ok(_) => {
                let path = Settings::path(Path::new("/"));
                Err(format!("this host runs no commands: `tasks` is false in {}", path.display()))
            }
            Err(error) => Err(format!("this host runs no commands: {error}")),
        }
    }

    /// Follows an order that was verified, unless it was followed before.
    pub fn accept(self: &Arc<Self>, order: TaskOrder) {
        let order = protocol::task::in_own_time(order, self.now());
        let id = order.task_id.clone();
        let mut state = lock(&self.state);
        if state.open.contains_key(&id) || state.waiting.iter().any(|o| o.task_id == id) {
            tracing::debug!("task {id} was ordered again");
            return;
        }
        match self.store.task(&id) {
            Ok(None) => {}
            Ok(Some(before)) => {
                tracing::info!("task {id} was ordered again; it ran before and does not run twice");
                state.open.insert(id, reported(before));
                self.changed.notify_one();
                return;
            }
            Err(error) => {
                self.refuse(&mut state, &id, TaskOutcome::TaskRefused, journal(&error));
                return;
            }
        }
        if state.running < MAX_RUNNING {
            self.begin(&mut state, order);
        } else if state.waiting.len() < MAX_WAITING {
            state.waiting.push_back(order);
        } else {
            // It stays with the server, which sends it again on the next stream.
            tracing::warn!("task {id}: too many tasks wait on this host");
        }
    }

    /// The result of a task that does not begin.
    fn refuse(&self, state: &mut State, id: &str, outcome: TaskOutcome, why: String) {
        tracing::warn!("task {id} is refused: {why}");
        let error = bounded(&why, MAX_ERROR).to_owned();
        let ended = TaskEnded { error, ..result(id, outcome) };
        state.open.insert(id.to_owned(), Open { ended: Some(ended), ..Open::default() });
        self.changed.notify_one();
    }

    fn begin(self: &Arc<Self>, state: &mut State, order: TaskOrder) {
        let (id, now) = (order.task_id.clone(), self.now());
        if now > order.not_after {
            let why = "it came after its time".to_owned();
            return self.refuse(state, &id, TaskOutcome::TaskExpired, why);
        }
        let Some(work) = order.work.as_ref() else {
            return self.refuse(state, &id, TaskOutcome::TaskRefused, "there is nothing to do".to_owned());
        };
        if let Err(error) = protocol::task::check(work) {
            return self.refuse(state, &id, TaskOutcome::TaskRefused, error.to_string());
        }
        if matches!(work.work, Some(protocol::pb::task_work::Work::Command(_)))
            && let Err(why) = self.commands_allowed()
        {
            return self.refuse(state, &id, TaskOutcome::TaskRefused, why);
        }
        match self.store.journal_begun() {
            Ok(begun) if order.created_at < begun => {
                let why = "the journal of this host was lost after the task was made: it may have run";
                return self.refuse(state, &id, TaskOutcome::TaskUnknown, why.to_owned());
            }
            Ok(_) => {}
            Err(error) => {
                return self.refuse(state, &id, TaskOutcome::TaskRefused, journal(&error));
            }
        }
        let again = protocol::task::is_idempotent(work);
        let record = TaskRecord {
            started_at: now,
            not_after: order.not_after,
            attempts: 1,
            order: again.then(|| order.encode_to_vec()),
            ..TaskRecord::default()
        };
        match self.store.begin_task(&id, &record, now) {
            Ok(Begun::Now) => self.run(state, order, record),
            Ok(Begun::Before) => tracing::warn!("task {id} is on record already"),
            Ok(Begun::Full) => {
                let why = "too many tasks are on record on this host; wait for old ones to be forgotten";
                self.refuse(state, &id, TaskOutcome::TaskRefused, why.to_owned());
            }
            Err(error) => self.refuse(state, &id, TaskOutcome::TaskRefused, journal(&error)),
        }
    }

    /// On a thread of its own; it is on record.
    fn run(self: &Arc<Self>, state: &mut State, order: TaskOrder, record: TaskRecord) {
        let id = order.task_id.clone();
        let what = order.work.as_ref().map(protocol::task::summary).unwrap_or_default();
        tracing::info!("task {id} begins: {}", printable(&what));
        let open = Open { started_at: Some(record.started_at), ..Open::default() };
        let cancel = open.cancel.clone();
        state.open.insert(id.clone(), open);
        state.running += 1;
        self.changed.notify_one();
        let (this, kept, name) = (self.clone(), record.clone(), id.clone());
        let thread = std::thread::Builder::new().name("task".to_owned()).stack_size(512 << 10);
        let spawned = thread.spawn(move || {
            // Whatever goes wrong in there, its place is free again and its result is told.
            let worked = catch_unwind(AssertUnwindSafe(|| this.work(&order, &record, &cancel)));
            let ended = worked.unwrap_or_else(|_| TaskEnded {
                error: "the agent has a mistake here; its log says where. It may have run, wholly or partly"
                    .to_owned(),
                started_at: record.started_at,
                ..result(&name, TaskOutcome::TaskUnknown)
            });
            tracing::info!("task {name} ended: {}", word(ended.outcome()));
            this.finish(&name, &record, ended);
            this.next();
        });
        if let Err(error) = spawned {
            let why = format!("no thread to run it: {error}");
            let ended = TaskEnded { error: why, ..result(&id, TaskOutcome::TaskRefused) };
            state.running -= 1;
            if let Err(error) = self.store.keep_task(&id, &with_result(&kept, &ended), &[]) {
                tracing::error!("task {id}: {}", journal(&error));
            }
            if let Some(open) = state.open.get_mut(&id) {
                open.ended = Some(ended);
            }
        }
    }

    fn work(&self, order: &TaskOrder, record: &TaskRecord, cancel: &AtomicBool) -> TaskEnded {
        let id = &order.task_id;
        let started = Instant::now();
        let mut kept = 0u64;
        let mut written = 0u64;
        let mut limit = 0u64;
        let mut take = |source: OutputSource, bytes: &[u8], most: u64| {
            limit = most;
            written += bytes.len() as u64;
            let room = usize::try_from(limit.saturating_sub(kept)).unwrap_or(usize::MAX).min(bytes.len());
            kept += room as u64;
            self.output(id, source, bytes.get(..room).unwrap_or_default());
        };
        let ends = run::Ends { stop: &self.stop, cancel };
        let (outcome, exit_code, error) = run::work(order, &self.root, &*self.clock, ends, &mut take);
        TaskEnded {
            outcome: outcome.into(),
            exit_code,
            error: bounded(&error, MAX_ERROR).to_owned(),
            started_at: record.started_at,
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            output_bytes: written,
            output_dropped: written - kept,
            ..result(id, outcome)
        }
    }

    /// The result is on disk before anybody is told.
    fn finish(&self, id: &str, record: &TaskRecord, mut ended: TaskEnded) {
        let mut state = lock(&self.state);
        let open = state.open.entry(id.to_owned()).or_default();
        open.flush();
        ended.pieces = u32::try_from(open.pieces.len()).unwrap_or(u32::MAX);
        if let Err(error) = self.store.keep_task(id, &with_result(record, &ended), &open.pieces) {
            // Reported all the same; if the agent dies before that, it will be `unknown`.
            tracing::error!("task {id}: {}", journal(&error));
        }
        open.ended = Some(ended);
        drop(state);
        self.changed.notify_one();
    }

    /// A task ended: the next one that waits begins.
    fn next(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        state.running -= 1;
        if self.stop.load(std::sync::atomic::Ordering::Relaxed) {
            state.waiting.clear();
        }
        while state.running < MAX_RUNNING {
            let Some(order) = state.waiting.pop_front() else { break };
            self.begin(&mut state, order);
        }
        self.idle.notify_all();
    }

    /// The server takes a task back: one that runs is killed, one that waits does not begin. Either is on record and
    /// reported; one that has ended keeps its result.
    pub fn cancel(&self, id: &str) {
        if !protocol::task::is_id(id) {
            return tracing::debug!("what is cancelled is no task");
        }
        let mut state = lock(&self.state);
        if let Some(open) = state.open.get(id) {
            if !open.cancel.swap(true, std::sync::atomic::Ordering::Relaxed) {
                tracing::info!("task {id} is cancelled");
            }
            return;
        }
        let waiting = state.waiting.len();
        state.waiting.retain(|order| order.task_id != id);
        let waited = state.waiting.len() < waiting;
        match self.store.task(id) {
            Ok(Some(before)) => drop(state.open.insert(id.to_owned(), reported(before))),
            Ok(None) => {
                // Nobody signs this word, so not as many as somebody likes are put on record.
                let others = state.open.values().filter(|open| open.started_at.is_none()).count();
                if !waited && others >= MAX_WAITING {
                    return tracing::debug!(
                        "task {id} was never ordered, and too many others were cancelled"
                    );
                }
                let ended = TaskEnded {
                    error: "cancelled before it began".to_owned(),
                    ..result(id, TaskOutcome::TaskCancelled)
                };
                let now = self.now();
                let record = TaskRecord { not_after: now, ..TaskRecord::default() };
                match self.store.begin_task(id, &with_result(&record, &ended), now) {
                    Ok(Begun::Now | Begun::Before) => {}
                    Ok(Begun::Full) => tracing::warn!("task {id}: too many tasks are on record on this host"),
                    Err(error) => tracing::error!("task {id}: {}", journal(&error)),
                }
                tracing::info!("task {id} is cancelled before it began");
                state.open.insert(id.to_owned(), Open { ended: Some(ended), ..Open::default() });
            }
            Err(error) => tracing::error!("task {id}: {}", journal(&error)),
        }
        self.changed.notify_one();
    }

    /// After a stop was asked for: waits until what ran is on record.
    pub fn settle(&self, limit: Duration) {
        let state = lock(&self.state);
        let waited = self.idle.wait_timeout_while(state, limit, |state| state.running > 0);
        if waited.is_err() || waited.is_ok_and(|(_, late)| late.timed_out()) {
            tracing::warn!("a task did not stop in time; it will be reported as unknown");
        }
    }

    /// The server has the result.
    pub fn acknowledged(&self, id: &str) {
        let mut state = lock(&self.state);
        if state.open.get(id).is_none_or(|open| open.ended.is_none()) {
            return;
        }
        if let Err(error) = self.store.acknowledge_task(id) {
            tracing::error!("task {id}: {}", journal(&error));
        }
        state.open.remove(id);
    }
}

fn result(id: &str, outcome: TaskOutcome) -> TaskEnded {
    TaskEnded { task_id: id.to_owned(), outcome: outcome.into(), ..TaskEnded::default() }
}

/// As `vigocli` calls it.
fn word(outcome: TaskOutcome) -> &'static str {
    match outcome {
        TaskOutcome::TaskOk => "ok",
        TaskOutcome::TaskFailed => "failed",
        TaskOutcome::TaskTimedOut => "timed-out",
        TaskOutcome::TaskRefused => "refused",
        TaskOutcome::TaskExpired => "expired",
        TaskOutcome::TaskInterrupted => "interrupted",
        TaskOutcome::TaskCancelled => "cancelled",
        TaskOutcome::TaskUnknown | TaskOutcome::Unspecified => "unknown",
    }
}

fn with_result(record: &TaskRecord, ended: &TaskEnded) -> TaskRecord {
    TaskRecord { ended: Some(ended.encode_to_vec()), order: None, ..record.clone() }
}

fn journal(error: &StoreError) -> String {
    format!("the journal cannot be written: {error}")
}

/// A task of the journal as it is to be reported; output that is gone was delivered before.
fn reported(task: Journalled) -> Open {
    let ended = task.record.ended.as_deref().and_then(|bytes| TaskEnded::decode(bytes).ok());
    let mut ended = ended.unwrap_or_else(|| TaskEnded {
        error: "it was begun here before".to_owned(),
        ..result(&task.id, TaskOutcome::TaskUnknown)
    });
    ended.pieces = u32::try_from(task.pieces.len()).unwrap_or(u32::MAX);
    Open {
        started_at: Some(task.record.started_at),
        pieces: task.pieces,
        ended: Some(ended),
        ..Open::default()
    }
}

#[cfg(test)]
mod tests;
