//! Results on their way to the server: numbered without gaps, kept until acknowledged, bounded.

use super::cache::{Past, add_past};
use super::crashes::{add_crash, forget_crashes};
use super::marks::change_marks;
use super::{QUEUE, Store, StoreError, forget, put_json, take, take_json};
use crate::clock::Millis;
use prost::Message;
use protocol::pb::{Dropped, RunReport};
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

/// Runs that wait at most.
pub const MAX_QUEUE_RUNS: u64 = 10_000;
/// How far the server's word may lift the numbers of results at once.
const MAX_JUMP: u64 = 1 << 20;
/// Bytes that wait at most.
pub const MAX_QUEUE_BYTES: u64 = 64 << 20;

/// A run that has begun. What is on record of it if it never ends.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Running {
    /// UUIDv7.
    pub run_id: String,
    /// Its number.
    pub result_seq: u64,
    /// When it began.
    pub started_at: Millis,
    /// What it converges to.
    pub policy_version: String,
    /// What it converges to.
    pub release_serial: u64,
    /// What it converges to.
    pub seq: u64,
    /// From the cache.
    pub offline: bool,
    /// The part it is limited to.
    #[serde(default)]
    pub only: Option<String>,
}

/// What waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    /// Results.
    pub waiting: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest of them began.
    pub oldest: Option<Millis>,
    /// Runs that could not be kept.
    pub dropped: u64,
}

impl Running {
    fn report(&self) -> RunReport {
        RunReport {
            run_id: self.run_id.clone(),
            result_seq: self.result_seq,
            started_at: self.started_at,
            policy_version: self.policy_version.clone(),
            release_serial: self.release_serial,
            seq: self.seq,
            offline: self.offline,
            only: self.only.clone(),
            ..RunReport::default()
        }
    }
}

impl Store {
    /// Puts a run on record before it begins and gives it its number.
    pub fn begin_run(&self, run: &Running) -> Result<Running, StoreError> {
        let (run, marks) = self.write(|t| {
            let mut run = run.clone();
            let marks = change_marks(t, |marks| {
                marks.result_seq += 1;
                run.result_seq = marks.result_seq;
            })?;
            put_json(t, "running", &run)?;
            Ok((run, marks))
        })?;
        self.copy_marks(&marks);
        Ok(run)
    }

    /// Ends a run: its report waits for the server. One commit.
    pub fn end_run(&self, run: &Running, fill: &RunReport, past: &Past) -> Result<(), StoreError> {
        let mut report = run.report();
        report.duration_ms = fill.duration_ms;
        report.totals = fill.totals;
        report.results.clone_from(&fill.results);
        self.write(|t| {
            enqueue(t, &report)?;
            add_past(t, past)?;
            forget_crashes(t)?;
            forget(t, "running")
        })
    }

    /// A run that begun and never ended becomes a result that says so.
    pub fn close_interrupted(&self) -> Result<Option<Running>, StoreError> {
        let Some(run) = self.get_json::<Running>("running")? else { return Ok(None) };
        let report = RunReport { interrupted: true, ..run.report() };
        let past = Past {
            run_id: run.run_id.clone(),
            at: run.started_at,
            took: 0,
            totals: Default::default(),
            offline: run.offline,
            interrupted: true,
            only: run.only.clone(),
        };
        self.write(|t| {
            enqueue(t, &report)?;
            add_past(t, &past)?;
            add_crash(t, run.seq, run.started_at)?;
            forget(t, "running")
        })?;
        Ok(Some(run))
    }

    /// The oldest result that waits. One that does not read back is reported as dropped.
    pub fn oldest_result(&self) -> Result<Option<RunReport>, StoreError> {
        self.read(|t| {
            let table = t.open_table(QUEUE)?;
            let Some((seq, bytes)) = table.first()? else { return Ok(None) };
            Ok(Some(RunReport::decode(bytes.value()).unwrap_or_else(|_| dropped(seq.value(), seq.value()))))
        })
    }

    /// The server has the result that was sent, number `sent`, and all up to `up_to`. Only what was sent is forgotten: on
    /// a host that was set back to an earlier state, other results have the numbers up to `up_to` here. Its next results
    /// are numbered after those that the server has; whether they have to jump for it.
    pub fn acknowledge(&self, sent: u64, up_to: u64) -> Result<bool, StoreError> {
        let (marks, jumps) = self.write(|t| {
            let empty = {
                let mut table = t.open_table(QUEUE)?;
                let freed = table.remove(sent)?.map_or(0, |row| row.value().len() as u64);
                let bytes: u64 = take_json(t, "queue.bytes")?;
                put_json(t, "queue.bytes", &bytes.saturating_sub(freed))?;
                table.is_empty()?
            };
            let mut jumps = false;
            let marks = change_marks(t, |marks| {
                jumps = up_to > marks.result_seq && up_to - marks.result_seq <= MAX_JUMP;
                if jumps {
                    marks.result_seq = up_to;
                }
                let reached = if empty { up_to.min(marks.result_seq) } else { sent };
                marks.acknowledged = marks.acknowledged.max(reached);
            })?;
            Ok((marks, jumps))
        })?;
        self.copy_marks(&marks);
        Ok(jumps)
    }

    /// What waits.
    pub fn queue(&self) -> Result<QueueState, StoreError> {
        let bytes: u64 = self.get_json("queue.bytes")?.unwrap_or_default();
        self.read(|t| {
            let table = t.open_table(QUEUE)?;
            let read = |row: Option<(redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, &[u8]>)>| {
                row.and_then(|(_, bytes)| RunReport::decode(bytes.value()).ok())
            };
            let dropped =
                read(table.last()?).and_then(|r| r.dropped).map_or(0, |d| d.to_seq - d.from_seq + 1);
            Ok(QueueState {
                waiting: table.len()?,
                bytes,
                oldest: read(table.first()?).map(|r| r.started_at),
                dropped,
            })
        })
    }
}

/// Puts on record that results were lost with the store they were in.
pub(super) fn queue_lost(t: &WriteTransaction, from: u64, to: u64) -> Result<(), redb::Error> {
    enqueue(t, &dropped(from, to))
}

/// Stands for results that are gone.
fn dropped(from_seq: u64, to_seq: u64) -> RunReport {
    RunReport {
        run_id: uuid::Uuid::now_v7().to_string(),
        result_seq: to_seq,
        dropped: Some(Dropped { from_seq, to_seq }),
        ..RunReport::default()
    }
}

/// The oldest results stay: they are the ones nobody else has. What comes when there is no room left is
/// folded into one last row that says how many there were.
fn enqueue(t: &WriteTransaction, report: &RunReport) -> Result<(), redb::Error> {
    let bytes: u64 = take_json(t, "queue.bytes")?;
    let mut encoded = report.encode_to_vec();
    let mut table = t.open_table(QUEUE)?;
    let last = match table.last()? {
        Some((seq, value)) => {
            let read = RunReport::decode(value.value()).ok();
            read.and_then(|r| r.dropped).map(|d| (seq.value(), d, value.value().len() as u64))
        }
        None => None,
    };
    let full = table.len()? >= limits(t)?.0 || bytes.saturating_add(encoded.len() as u64) > limits(t)?.1;
    let mut freed = 0;
    if full && report.dropped.is_none() {
        let mut from = report.result_seq;
        if let Some((seq, folded, size)) = last {
            from = folded.from_seq;
            freed = size;
            table.remove(seq)?;
        }
        encoded = RunReport {
            run_id: report.run_id.clone(),
            started_at: report.started_at,
            ..dropped(from, report.result_seq)
        }
        .encode_to_vec();
    }
    table.insert(report.result_seq, encoded.as_slice())?;
    drop(table);
    put_json(t, "queue.bytes", &(bytes.saturating_sub(freed) + encoded.len() as u64))
}

/// Runs and bytes; smaller in tests.
fn limits(t: &WriteTransaction) -> Result<(u64, u64), redb::Error> {
    if cfg!(test)
        && let Some(bytes) = take(t, "test.queue_runs")?
    {
        return Ok((bytes.try_into().map_or(MAX_QUEUE_RUNS, u64::from_be_bytes), MAX_QUEUE_BYTES));
    }
    Ok((MAX_QUEUE_RUNS, MAX_QUEUE_BYTES))
}
