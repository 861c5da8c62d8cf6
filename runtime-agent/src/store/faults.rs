//! A disk that fails at a chosen moment: what a transaction leaves behind when the power goes, when a sync fails, when there is
//! no room, and when a write lies.

use super::*;
use crate::store::tests::{running, store};
use protocol::pb::RunReport;
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const PAGE: u64 = 4096;

/// What happens at one operation, or from it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing works any more from here on.
    PowerLoss,
    /// A sync fails, what was to be synced is gone, and the next sync says all is well: as Linux does.
    SyncFails,
    /// No room from here on.
    Full,
    /// A write says that it was done, and wrote the first half.
    Lies,
}

/// A file on a disk.
#[derive(Debug, Default)]
pub(super) struct Disk(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// What reads give: everything that was written.
    seen: Vec<u8>,
    /// What survives.
    synced: Vec<u8>,
    /// Operations so far, by what they were.
    writes: usize,
    syncs: usize,
    at: usize,
    fault: Option<Fault>,
    fired: bool,
}

impl Disk {
    fn with(bytes: &[u8], fault: Option<Fault>, at: usize) -> Arc<Disk> {
        let state = State { seen: bytes.to_vec(), synced: bytes.to_vec(), at, fault, ..State::default() };
        Arc::new(Disk(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn backend(self: &Arc<Self>) -> Handle {
        Handle(self.clone())
    }

    /// After the power went: what was synced, and some of the pages that were not, chosen by `seed`.
    fn after_power_loss(&self, seed: u64) -> Vec<u8> {
        let state = self.state();
        let length = if seed.is_multiple_of(2) { state.synced.len() } else { state.seen.len() };
        let mut image = state.synced.clone();
        image.resize(length, 0);
        for (at, page) in image.chunks_mut(PAGE as usize).enumerate() {
            let chosen = ir::Hash::of(format!("{seed} {at}").as_bytes()).0[0] > 85;
            let from = at * PAGE as usize;
            if let (true, Some(new)) = (chosen && seed > 0, state.seen.get(from..(from + page.len()))) {
                page.copy_from_slice(new);
            }
        }
        image
    }
}

#[derive(Debug)]
pub(super) struct Handle(Arc<Disk>);

impl State {
    fn off(&self) -> std::io::Result<()> {
        match self.fault {
            Some(Fault::PowerLoss) if self.fired => Err(Error::from_raw_os_error(5)),
            _ => Ok(()),
        }
    }

    fn change(&mut self) -> std::io::Result<bool> {
        self.off()?;
        self.writes += 1;
        let now = self.writes + self.syncs > self.at;
        match self.fault {
            Some(Fault::PowerLoss) if now => {
                self.fired = true;
                Err(Error::from_raw_os_error(5))
            }
            Some(Fault::Full) if now => {
                self.fired = true;
                Err(ErrorKind::StorageFull.into())
            }
            Some(Fault::Lies) if now && !self.fired => {
                self.fired = true;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> std::io::Result<u64> {
        let state = self.0.state();
        state.off()?;
        Ok(state.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let state = self.0.state();
        state.off()?;
        let from = offset as usize;
        let bytes = state.seen.get(from..from + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        let mut state = self.0.state();
        state.change()?;
        state.seen.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> std::io::Result<()> {
        let mut state = self.0.state();
        state.off()?;
        state.syncs += 1;
        match state.fault {
            Some(Fault::PowerLoss) if state.writes + state.syncs > state.at => {
                state.fired = true;
                return Err(Error::from_raw_os_error(5));
            }
            Some(Fault::SyncFails) if state.syncs == state.at && !state.fired => {
                state.fired = true;
                state.seen = state.synced.clone();
                return Err(Error::from_raw_os_error(5));
            }
            _ => {}
        }
        state.synced = state.seen.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        let mut state = self.0.state();
        let data = if state.change()? { &data[..data.len() / 2] } else { data };
        let from = offset as usize;
        state.seen.get_mut(from..from + data.len()).ok_or(ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        Ok(())
    }
}

/// A store with one delivered run in it, and what its file holds.
fn base() -> (tempfile::TempDir, Store, Vec<u8>) {
    let (dir, store) = store();
    turn(&store, 1).2.unwrap();
    store.acknowledge(1, 1).unwrap();
    let bytes = std::fs::read(&store.path).unwrap();
    (dir, store, bytes)
}

/// A run: begun, triggers earned, ended. What came of each step.
fn turn(
    store: &Store,
    id: u64,
) -> (Result<Running, StoreError>, Result<(), StoreError>, Result<(), StoreError>) {
    use crate::converge::Triggers;
    let begun = store.begin_run(&running(id));
    let earned = StoreTriggers(store).earn(&[format!("m.r{id}")].into());
    let past = Past {
        run_id: format!("run-{id}"),
        at: id,
        took: 1,
        totals: Default::default(),
        offline: true,
        interrupted: false,
        only: None,
    };
    let run = begun.as_ref().ok().cloned().unwrap_or_else(|| running(id));
    let ended = store.end_run(&run, &RunReport::default(), &past);
    (begun, earned, ended)
}

/// The state of a store: number of the last run, runs that ended, triggers, results that wait.
fn state(store: &Store) -> (u64, usize, usize, u64) {
    let marks = store.marks().unwrap();
    (
        marks.result_seq,
        store.past().unwrap().len(),
        store.triggers().unwrap().len(),
        store.queue().unwrap().waiting,
    )
}

/// Operations of a turn when nothing fails: all of them, and how many of them are syncs.
fn count(dir: &tempfile::TempDir, bytes: &[u8]) -> (usize, usize) {
    let disk = Disk::with(bytes, None, 0);
    let faulty = on(dir, &disk);
    turn(&faulty, 2).2.unwrap();
    let state = disk.state();
    (state.writes + state.syncs, state.syncs)
}

/// The same store, but its file is on that disk. Nothing is written to the real one but the second copy of the marks.
fn on(dir: &tempfile::TempDir, disk: &Arc<Disk>) -> Store {
    let state = StateDir::below(dir.path());
    Store { disk: Some(disk.clone()), ..Store::of(&state) }
}

/// A host that starts with that file, and with the second copy of the marks as it is now.
fn restarted(dir: &tempfile::TempDir, image: &[u8]) -> (tempfile::TempDir, Store) {
    let copy = tempfile::tempdir().unwrap();
    let state = StateDir::below(copy.path());
    state.prepare().unwrap();
    std::fs::copy(StateDir::below(dir.path()).marks(), state.marks()).unwrap();
    std::fs::write(state.store(), image).unwrap();
    let store = Store::open(&state, true, 3).unwrap();
    (copy, store)
}

#[test]
fn case_049_a_power_loss_at_any_write_or_sync_leaves_whole_steps() {
    let (dir, store, bytes) = base();
    let marks = std::fs::read(StateDir::below(dir.path()).marks()).unwrap();
    let (all, _) = count(&dir, &bytes);
    assert!(all > 20, "{all}");
    for at in 0..all {
        for seed in 0..3 {
            std::fs::write(StateDir::below(dir.path()).marks(), &marks).unwrap();
            let disk = Disk::with(&bytes, Some(Fault::PowerLoss), at);
            let (begun, earned, ended) = turn(&on(&dir, &disk), 2);
            assert!(disk.state().fired, "the power went at {at}");
            let (_copy, found) = restarted(&dir, &disk.after_power_loss(seed));
            let found = state(&found);
            // what was said to be done is done, and nothing is half done
            let done = [ended.is_ok(), earned.is_ok(), begun.is_ok()];
            let least = 3 - done.iter().position(|done| *done).unwrap_or(3);
            let steps = [(1, 1, 1, 0), (2, 1, 1, 0), (2, 1, 2, 0), (2, 2, 2, 1)];
            let reached = steps.iter().position(|step| *step == found);
            assert!(
                reached.is_some_and(|step| step >= least),
                "at {at}, seed {seed}: {found:?} after {least} steps"
            );
        }
    }
    drop(store);
}

#[test]
fn case_050_a_sync_that_fails_is_no_success_and_the_next_try_counts() {
    let (dir, _store, bytes) = base();
    let marks = std::fs::read(StateDir::below(dir.path()).marks()).unwrap();
    let (_, syncs) = count(&dir, &bytes);
    let mut told = 0;
    for at in 1..=syncs {
        std::fs::write(StateDir::below(dir.path()).marks(), &marks).unwrap();
        let disk = Disk::with(&bytes, Some(Fault::SyncFails), at);
        let faulty = on(&dir, &disk);
        let (begun, earned, ended) = turn(&faulty, 2);
        assert!(disk.state().fired);
        let failures =
            [begun.is_err(), earned.is_err(), ended.is_err()].iter().filter(|failed| **failed).count();
        told += failures;
        // whatever was said to be done survives, although the disk lost what it was to sync
        let (_copy, found) = restarted(&dir, &disk.after_power_loss(0));
        let found = state(&found);
        assert!(begun.is_err() || found.0 == 2, "sync {at}: {found:?}");
        assert!(earned.is_err() || found.2 == 2, "sync {at}: {found:?}");
        assert!(ended.is_err() || found.3 == 1, "sync {at}: {found:?}");
        turn(&faulty, 3).2.unwrap();
    }
    assert!(told > 0, "none of {syncs} failures was told");
}

#[test]
fn case_051_no_room_at_any_write_is_told_as_such_and_nothing_is_lost() {
    let (dir, _store, bytes) = base();
    let marks = std::fs::read(StateDir::below(dir.path()).marks()).unwrap();
    let (all, _) = count(&dir, &bytes);
    for at in 0..all {
        std::fs::write(StateDir::below(dir.path()).marks(), &marks).unwrap();
        let disk = Disk::with(&bytes, Some(Fault::Full), at);
        let faulty = on(&dir, &disk);
        let (begun, earned, ended) = turn(&faulty, 2);
        for error in [begun.err(), earned.err(), ended.err()].into_iter().flatten() {
            assert!(matches!(error, StoreError::Full(_)), "write {at}: {error}");
        }
        disk.state().fault = None;
        let before = state(&faulty);
        assert!(
            [(1, 1, 1, 0), (2, 1, 1, 0), (2, 1, 2, 0), (2, 2, 2, 1)].contains(&before),
            "write {at}: {before:?}"
        );
        turn(&faulty, 3).2.unwrap();
        assert_eq!(state(&faulty).3, before.3 + 1, "there is room again");
    }
}

#[test]
fn case_052_a_write_that_lies_is_noticed_when_it_is_read() {
    let (dir, _store, bytes) = base();
    let marks = std::fs::read(StateDir::below(dir.path()).marks()).unwrap();
    let (all, _) = count(&dir, &bytes);
    let mut noticed = BTreeMap::new();
    for at in 0..all {
        std::fs::write(StateDir::below(dir.path()).marks(), &marks).unwrap();
        let disk = Disk::with(&bytes, Some(Fault::Lies), at);
        let ended = turn(&on(&dir, &disk), 2).2;
        let (copy, found) = restarted(&dir, &disk.after_power_loss(0));
        let aside = std::fs::read_dir(StateDir::below(copy.path()).path()).unwrap();
        let aside = aside
            .filter(|e| e.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().contains("damaged")))
            .count();
        let (result_seq, past, triggers, waiting) = state(&found);
        *noticed.entry(aside > 0).or_insert(0) += 1;
        if aside > 0 {
            // begun anew: numbers go on, and what was lost is told
            assert!(result_seq >= 1 && (past, triggers) == (0, 0), "write {at}");
            assert_eq!(waiting > 0, result_seq > 1, "write {at}: {ended:?}");
        } else {
            assert!(
                (1..=2).contains(&result_seq) && (1..=2).contains(&past),
                "write {at}: {result_seq} {past} {triggers}"
            );
        }
    }
    assert!(noticed.len() == 2, "{noticed:?}");
}
