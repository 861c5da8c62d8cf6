//! The marks that must never fall, in the store and in a second file beside it.

use super::{META, Store, StoreError, put, put_json, take, take_json};
use crate::state::{StateDir, read_optional, write_private};
use protocol::reset::Reset;
use redb::WriteTransaction;
use std::cmp::Ordering;

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
    /// Number of the last reset that was taken; 0 for none.
    #[serde(default)]
    pub reset: u64,
    /// Epochs before this one are retired, since that reset.
    #[serde(default)]
    pub min_epoch: u64,
}

impl Marks {
    /// What is left of them once a reset was taken.
    pub fn after(self, reset: Reset) -> Marks {
        Marks {
            epoch: reset.min_epoch.saturating_sub(1),
            seq: 0,
            root: String::new(),
            reset: reset.number,
            min_epoch: reset.min_epoch,
            ..self
        }
    }

    fn highest(self, other: Marks) -> Marks {
        // What was seen before the last reset does not count, however high it is.
        let seen = match self.reset.cmp(&other.reset) {
            Ordering::Greater => self.clone(),
            Ordering::Less => other.clone(),
            Ordering::Equal => Marks {
                epoch: self.epoch.max(other.epoch),
                seq: self.seq.max(other.seq),
                root: if other.seq > self.seq { other.root.clone() } else { self.root.clone() },
                ..self.clone()
            },
        };
        Marks {
            epoch: seen.epoch,
            seq: seen.seq,
            root: seen.root,
            reset: seen.reset,
            min_epoch: seen.min_epoch,
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

    /// Begins anew when it belongs to another envoy: the host was enrolled again, and died before this was done. Whether it
    /// did.
    pub fn belong_to(&self, envoy_id: &str) -> Result<bool, StoreError> {
        match self.get("owner")? {
            Some(owner) if owner == envoy_id.as_bytes() => Ok(false),
            Some(_) => self.reset(envoy_id).map(|()| true),
            None => self.write(|t| put(t, "owner", envoy_id.as_bytes())).map(|()| false),
        }
    }

    /// Begins anew, at enrolment: the marks of another identity say nothing about this one.
    pub fn reset(&self, envoy_id: &str) -> Result<(), StoreError> {
        self.write(|t| {
            t.delete_table(META)?;
            t.delete_table(super::BLOBS)?;
            t.delete_table(super::SECRETS)?;
            t.delete_table(super::QUEUE)?;
            t.delete_table(super::TASKS)?;
            t.delete_table(super::TASK_OUTPUT)?;
            put(t, "owner", envoy_id.as_bytes())?;
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

    /// The higher of both copies; of a store that was begun anew, with what was lost put on record.
    pub(super) fn restore_marks(&self, second: Marks, fresh: bool, now: u64) -> Result<(), StoreError> {
        let first = self.marks()?;
        let marks = first.clone().highest(second);
        if marks != first {
            self.write(|t| put_json(t, "marks", &marks))?;
        }
        if fresh && marks.counter > 0 {
            // More requests than the second copy can lag behind.
            self.write(|t| put(t, "counter", &(marks.counter + 100_000).to_be_bytes()))?;
        }
        if fresh && marks.counter > 0 {
            self.journal_lost(now)?;
        }
        if fresh && marks.result_seq > marks.acknowledged {
            self.queue_lost(marks.acknowledged + 1, marks.result_seq)?;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_021_what_was_seen_before_a_reset_does_not_come_back_with_the_second_copy() {
        let before =
            Marks { epoch: 1 << 63, seq: 1 << 62, root: "far".into(), counter: 9, ..Marks::default() };
        let after = Marks {
            epoch: 5,
            seq: 2,
            root: "near".into(),
            ..before.clone().after(Reset { number: 7, min_epoch: 5 })
        };
        assert_eq!(after.clone().highest(before.clone()), after);
        assert_eq!(
            before.clone().highest(after.clone()),
            after,
            "nor with a store that lost its last transaction"
        );
        let later = Marks { epoch: 6, seq: 1, ..after.clone() };
        let both = after.highest(later);
        assert_eq!((both.epoch, both.seq, both.root.as_str(), both.min_epoch), (6, 2, "near", 5));
    }
}
