//! The journal of tasks: what was begun is on disk before it begins, so nothing runs twice.

use super::{Store, StoreError, TASK_OUTPUT, TASKS, put_json};
use crate::clock::Millis;
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

/// Tasks on record at most; more are refused until some are old enough to be forgotten.
const MAX_TASKS: u64 = 4096;
/// How long a task is remembered after nothing may begin it any more, for clocks that are not quite right.
const MEMORY: Millis = 3_600_000;

/// A task that was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TaskRecord {
    /// When it began last.
    pub started_at: Millis,
    /// After that it would be refused anyway.
    pub not_after: Millis,
    /// How often it was begun.
    pub attempts: u32,
    /// The encoded order, where it may be begun again.
    #[serde(default)]
    pub order: Option<Vec<u8>>,
    /// The encoded result; none while it runs, or when the agent died meanwhile.
    #[serde(default)]
    pub ended: Option<Vec<u8>>,
    /// The server has the result.
    #[serde(default)]
    pub acknowledged: bool,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// As in the protocol.
    pub source: u8,
    /// What was written.
    pub data: Vec<u8>,
}

/// A record with its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journalled {
    /// The task.
    pub id: String,
    /// Its record.
    pub record: TaskRecord,
    /// Kept until the result is acknowledged.
    pub pieces: Vec<Piece>,
}

/// Whether a task may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is on record now and was not before.
    Now,
    /// It was on record.
    Before,
    /// There is no room for more records.
    Full,
}

impl Store {
    /// Puts a task on record as begun, unless it is there. When this returns, it is on disk.
    pub fn begin_task(&self, id: &str, record: &TaskRecord, now: Millis) -> Result<Begun, StoreError> {
        self.write(|t| {
            forget_old(t, now)?;
            let mut table = t.open_table(TASKS)?;
            if table.get(id)?.is_some() {
                return Ok(Begun::Before);
            }
            if table.len()? >= MAX_TASKS {
                return Ok(Begun::Full);
            }
            table.insert(id, encode(record)?.as_slice())?;
            Ok(Begun::Now)
        })
    }

    /// Changes the record of a task: it begins again, or it ended with this output.
    pub fn keep_task(&self, id: &str, record: &TaskRecord, pieces: &[Piece]) -> Result<(), StoreError> {
        self.write(|t| {
            t.open_table(TASKS)?.insert(id, encode(record)?.as_slice())?;
            let mut table = t.open_table(TASK_OUTPUT)?;
            for (number, piece) in (0..).zip(pieces) {
                let mut bytes = Vec::with_capacity(piece.data.len() + 1);
                bytes.push(piece.source);
                bytes.extend_from_slice(&piece.data);
                table.insert((id, number), bytes.as_slice())?;
            }
            Ok(())
        })
    }

    /// The server has the result: only the fact that the task was begun is kept.
    pub fn acknowledge_task(&self, id: &str) -> Result<(), StoreError> {
        self.write(|t| {
            let mut table = t.open_table(TASKS)?;
            let record = table.get(id)?.map(|v| decode(v.value())).transpose()?;
            if let Some(record) = record {
                let record = TaskRecord { acknowledged: true, order: None, ..record };
                table.insert(id, encode(&record)?.as_slice())?;
            }
            t.open_table(TASK_OUTPUT)?.retain_in((id, 0)..=(id, u32::MAX), |_, _| false)?;
            Ok(())
        })
    }

    /// The record of a task, with its output where that is still kept.
    pub fn task(&self, id: &str) -> Result<Option<Journalled>, StoreError> {
        self.read(|t| {
            let record = t.open_table(TASKS)?.get(id)?.map(|v| decode(v.value())).transpose()?;
            let Some(record) = record else { return Ok(None) };
            let mut pieces = Vec::new();
            for row in t.open_table(TASK_OUTPUT)?.range((id, 0)..=(id, u32::MAX))? {
                if let Some((source, data)) = row?.1.value().split_first() {
                    pieces.push(Piece { source: *source, data: data.to_vec() });
                }
            }
            Ok(Some(Journalled { id: id.to_owned(), record, pieces }))
        })
    }

    /// Tasks whose result the server does not have.
    pub fn unreported_tasks(&self) -> Result<Vec<Journalled>, StoreError> {
        let ids = self.read(|t| {
            let mut ids = Vec::new();
            for row in t.open_table(TASKS)?.iter()? {
                let (id, record) = row?;
                if !decode(record.value())?.acknowledged {
                    ids.push(id.value().to_owned());
                }
            }
            Ok(ids)
        })?;
        let mut all = Vec::new();
        for id in ids {
            all.extend(self.task(&id)?);
        }
        Ok(all)
    }

    /// Tasks made before this may have run without being on record: the journal was lost.
    pub fn journal_begun(&self) -> Result<Millis, StoreError> {
        Ok(self.get_json("journal_begun")?.unwrap_or_default())
    }
}

/// The server's clock may be this far ahead of ours, and tasks are dated by it: as much as requests may be off.
const SKEW: Millis = 300_000;

/// The store was begun anew on a host that had one.
pub(super) fn journal_lost(t: &WriteTransaction, now: Millis) -> Result<(), redb::Error> {
    put_json(t, "journal_begun", &now.saturating_add(SKEW))
}

#[cfg(test)]
impl Store {
    /// As after a damaged store was set aside.
    pub(crate) fn begin_lost_journal(&self, now: Millis) {
        self.write(|t| journal_lost(t, now)).unwrap();
    }
}

fn forget_old(t: &WriteTransaction, now: Millis) -> Result<(), redb::Error> {
    let old = |record: &TaskRecord| record.acknowledged && record.not_after.saturating_add(MEMORY) < now;
    t.open_table(TASKS)?.retain(|_, bytes| !decode(bytes).is_ok_and(|record| old(&record)))?;
    Ok(())
}

fn encode(record: &TaskRecord) -> Result<Vec<u8>, redb::Error> {
    serde_json::to_vec(record).map_err(|e| redb::Error::Io(e.into()))
}

fn decode(bytes: &[u8]) -> Result<TaskRecord, redb::Error> {
    serde_json::from_slice(bytes).map_err(|e| redb::Error::Corrupted(format!("a task's record: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateDir;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&StateDir::below(dir.path()), false, 1).unwrap();
        (dir, store)
    }

    #[test]
    fn case_066_a_task_begins_once_even_after_its_result_is_delivered() {
        let (_dir, store) = store();
        let record = TaskRecord { not_after: 100, attempts: 1, ..TaskRecord::default() };
        assert_eq!(store.begin_task("a", &record, 1).unwrap(), Begun::Now);
        assert_eq!(store.begin_task("a", &record, 1).unwrap(), Begun::Before);
        let pieces = vec![Piece { source: 1, data: b"x".to_vec() }, Piece { source: 2, data: vec![] }];
        let ended = TaskRecord { ended: Some(vec![7]), ..record.clone() };
        store.keep_task("a", &ended, &pieces).unwrap();
        store.begin_task("b", &record, 1).unwrap();
        let unreported = store.unreported_tasks().unwrap();
        assert_eq!(unreported.len(), 2);
        assert_eq!(unreported[0], Journalled { id: "a".into(), record: ended, pieces });

        store.acknowledge_task("a").unwrap();
        let kept = store.task("a").unwrap().unwrap();
        assert!(kept.record.acknowledged && kept.record.ended.is_some() && kept.pieces.is_empty());
        assert_eq!(store.unreported_tasks().unwrap().len(), 1);
        assert_eq!(store.begin_task("a", &record, 100 + MEMORY).unwrap(), Begun::Before);
        // long after nothing may begin it any more, it is forgotten; what was not delivered is not
        store.begin_task("c", &record, 101 + MEMORY).unwrap();
        assert_eq!(store.task("a").unwrap(), None);
        assert!(store.task("b").unwrap().is_some());
    }
}
