//! The marks that must never fall, in the store and in a second file beside it.

use super::queue::queue_lost;
use super::tasks::journal_lost;
use super::{META, Store, StoreError, put, put_json, take, take_json};
use crate::state::{StateDir, read_optional, write_private};
use redb::WriteTransaction;

/// What this host has seen of its server, and how far its own numbers have come.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Marks {
    /// Highest signing epoch.
    pub epoch: u64,
    /// Highest bundle.
    pub seq: u64,
    /// Its root, in hexadecimal; empty before the first.
    pub root: String,
    /// Milliseconds; time is at least this.
    pub time_floor: u64,
    /// Number of the latest run.
    pub result_seq: u64,
    /// The server has everything up to here.
    pub acknowledged: u64,
    /// A recent number of a request; the store has the last one.
    pub counter: u64,
}

impl Marks {
    fn highest(self, other: Marks) -> Marks {
        let root = if other.seq > self.seq { other.root } else { self.root };
        Marks {
            epoch: self.epoch.max(other.epoch),
            seq: self.seq.max(other.seq),
            root,
            // Only a fresh answer of the server may lower the floor, so the store's word counts.
            time_floor: if self.time_floor == 0 { other.time_floor } else { self.time_floor },
            result_seq: self.result_seq.max(other.result_seq),
            acknowledged: self.acknowledged.max(other.acknowledged),
            counter: self.counter.max(other.counter),
        }
    }

    /// The second copy. A damaged one is none: the store has the first.
    pub(super) fn read_second(state: &StateDir) -> Result<Option<Marks>, StoreError> {
        let Some(bytes) = read_optional(&state.marks())? else { return Ok(None) };
        Ok(serde_json::from_slice(&bytes)
            .inspect_err(|e| tracing::warn!("{} is damaged: {e}", state.marks().display()))
            .ok())
    }
}

impl Store {
    /// The marks.
    pub fn marks(&self) -> Result<Marks, StoreError> {
        Ok(self.get_json("marks")?.unwrap_or_default())
    }

    /// Begins anew, at enrolment: the marks of another identity say nothing about this one.
    pub fn reset(&self) -> Result<(), StoreError> {
        self.write(|t| {
            t.delete_table(META)?;
            t.delete_table(super::BLOBS)?;
            t.delete_table(super::SECRETS)?;
            t.delete_table(super::QUEUE)?;
            t.delete_table(super::TASKS)?;
            t.delete_table(super::TASK_OUTPUT)?;
            put_json(t, "marks", &Marks::default())
        })?;
        self.make_tables()?;
        self.copy_marks(&Marks::default());
        Ok(())
    }

    /// Notes that it is now, so that a clock set back later does not make it earlier.
    pub fn raise_floor(&self, now: u64) -> Result<(), StoreError> {
        let marks = self.write(|t| change_marks(t, |marks| marks.time_floor = marks.time_floor.max(now)))?;
        self.copy_marks(&marks);
        Ok(())
    }

    /// A store without marks is a new one, whatever became of the one before.
    pub(super) fn has_marks(&self) -> Result<bool, StoreError> {
        Ok(self.get("marks")?.is_some())
    }

    /// The higher of both copies; of a store that was begun anew, with what was lost put on record. One commit, so that
    /// a crash on the way leaves a store that is still a new one.
    pub(super) fn restore_marks(&self, second: Marks, now: u64) -> Result<(), StoreError> {
        let first: Option<Marks> = self.get_json("marks")?;
        let fresh = first.is_none();
        let marks = first.clone().unwrap_or_default().highest(second);
        if first.as_ref() == Some(&marks) {
            return Ok(());
        }
        self.write(|t| {
            put_json(t, "marks", &marks)?;
            if fresh && marks.counter > 0 {
                // More requests than the second copy can lag behind.
                put(t, "counter", &(marks.counter + 100_000).to_be_bytes())?;
                journal_lost(t, now.max(marks.time_floor))?;
            }
            if fresh && marks.result_seq > marks.acknowledged {
                queue_lost(t, marks.acknowledged + 1, marks.result_seq)?;
            }
            Ok(())
        })
    }

    /// Brings the second copy up to date. It may lag behind the store but never lead it.
    pub(super) fn copy_marks(&self, marks: &Marks) {
        let bytes = serde_json::to_vec(marks).unwrap_or_default();
        if let Err(error) = write_private(&self.state.marks(), &bytes) {
            tracing::warn!("the second copy of the marks is not up to date: {error}");
        }
    }
}

/// Changes the marks within a transaction.
pub(super) fn change_marks(
    t: &WriteTransaction,
    change: impl FnOnce(&mut Marks),
) -> Result<Marks, redb::Error> {
    let mut marks: Marks = take_json(t, "marks")?;
    change(&mut marks);
    marks.counter = take(t, "counter")?.and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes);
    put_json(t, "marks", &marks)?;
    Ok(marks)
}
