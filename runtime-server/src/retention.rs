//! Forgetting what is old: runs, tasks, workflows and samples of compliance.
//!
//! Little by little, with pauses, because whoever deletes a year's runs in one go keeps everybody else from writing; and
//! not at all while the clock may be wrong, because what is forgotten by mistake does not come back.

use crate::context::Context;
use crate::store::{Connection, Store, StoreError, audit, runs, samples, tasks};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// From the start to the first look: a server that was just started has better things to do.
const FIRST: Duration = Duration::from_secs(300);
const EVERY: Duration = Duration::from_secs(3600);
/// Compliance is told for this long.
const SAMPLES_KEPT: Duration = Duration::from_secs(400 * 86_400);
/// Runs and tasks that go at once: a run has hundreds of results, a task as many targets as there are envoys.
const RUNS: u32 = 500;
const TASKS: u32 = 20;
/// Between two such steps.
const PAUSE: Duration = Duration::from_millis(100);
/// A clock that is further ahead than this of what was stored last is not believed, for as long.
const DOUBT: Duration = Duration::from_secs(86_400);

/// The time of the latest thing that this server or another one put down before now; 0 when there is nothing yet.
pub async fn latest(store: &Store) -> Result<u64, StoreError> {
    let latest = |conn: &mut Connection| {
        let times = [audit::latest(conn)?, runs::latest_time(conn)?, samples::latest(conn)?];
        Ok(times.into_iter().flatten().max().unwrap_or(0))
    };
    store.read(latest).await
}

/// Forgets until `stop` turns true. `keep` is for runs and tasks, which stay for ever without it; `latest` is that of
/// the start.
pub async fn look_after(
    context: Arc<Context>,
    mut stop: watch::Receiver<bool>,
    keep: Option<Duration>,
    latest: u64,
) {
    let mut clock = Trust::new(latest, Instant::now());
    let mut wait = FIRST;
    while tokio::time::timeout(wait, stop.wait_for(|stop| *stop)).await.is_err() {
        wait = EVERY;
        let now = context.clock.now();
        if !clock.believes(now, Instant::now()) {
            tracing::warn!(
                "the clock is more than a day ahead of what was stored last; nothing is forgotten for a day: is it right?"
            );
            continue;
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            done = forget(&context.store, now, keep) => {
                if let Err(e) = done {
                    tracing::error!(error = %e, "cannot forget what is old; will try again in an hour");
                }
            }
        }
    }
}

async fn forget(store: &Store, now: u64, keep: Option<Duration>) -> Result<(), StoreError> {
    let before = |keep: Duration| now.saturating_sub(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
    let old = before(SAMPLES_KEPT);
    store.call(move |conn| samples::forget_before(conn, old)).await?;
    let Some(old) = keep.map(before) else { return Ok(()) };
    let mut place = Some(runs::Place::default());
    while let Some(from) = place {
        place = store.call(move |conn| runs::forget_before(conn, old, &from, RUNS)).await?.1;
        tokio::time::sleep(PAUSE).await;
    }
    while store.call(move |conn| tasks::forget_before(conn, old, TASKS)).await? > 0 {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Whether the clock can be right.
#[derive(Debug)]
struct Trust {
    /// What it said when it was last believed, and when that was.
    known: u64,
    at: Instant,
    doubted: Option<Instant>,
}

impl Trust {
    fn new(latest: u64, at: Instant) -> Self {
        Trust { known: latest, at, doubted: None }
    }

    /// A clock that leapt ahead is believed after a day: so long a host may have been turned off, and so long somebody
    /// has to set it right.
    fn believes(&mut self, now: u64, at: Instant) -> bool {
        let passed = at.saturating_duration_since(self.at) + DOUBT;
        let limit = self.known.saturating_add(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
        let leapt = self.known > 0 && now > limit;
        if leapt && at.saturating_duration_since(*self.doubted.get_or_insert(at)) < DOUBT {
            return false;
        }
        *self = Trust::new(now, at);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_leapt_ahead_is_doubted_for_a_day() {
        const DAY: u64 = 86_400_000;
        let start = Instant::now();
        let at = |days: u64| start + DOUBT * u32::try_from(days).unwrap();
        let mut new = Trust::new(0, start);
        assert!(new.believes(50 * DAY, start), "a database with nothing in it");
        let mut clock = Trust::new(100 * DAY, start);
        assert!(clock.believes(101 * DAY, start));
        assert!(!clock.believes(103 * DAY, start));
        assert!(clock.believes(102 * DAY, at(1)), "it was set right");
        assert!(!clock.believes(3000 * DAY, at(2)));
        assert!(!clock.believes(3001 * DAY - 1, at(3) - Duration::from_millis(1)));
        assert!(clock.believes(3001 * DAY, at(3)), "nobody set it right");
        assert!(clock.believes(3011 * DAY, at(13)));
        assert!(clock.believes(10 * DAY, at(14)), "one that is behind forgets too little");
    }
}
