//! Whether a batch is well after its tasks, by what its envoys said since then.

use super::{Driver, Health, LOOK, Stop, number};
use crate::status::{Health as EnvoyHealth, Status};
use crate::store::runs::{self, RunRow};
use crate::store::{pushes, workflows};
use std::time::Instant;

/// So many of its own intervals an envoy has to show that it is well after its batch.
const PATIENCE: f64 = 2.5;
/// And this, for the run itself.
const RUN_MS: u64 = 60_000;
/// Looks between two questions to the database about an envoy that was not heard of.
const REREAD: u32 = 10;

impl Driver {
    /// Names of those that are not well after a batch. What was found once stays, whoever carries it on.
    pub(super) async fn verdict(
        &self,
        health: Health,
        batch: usize,
        ended: u64,
        envoys: &[(String, String)],
    ) -> Result<Vec<String>, Stop> {
        if health == Health::Ignored || envoys.is_empty() {
            return Ok(Vec::new());
        }
        let (id, batch) = (self.id.clone(), number(batch));
        if let Some(known) = self.context.store.read(move |conn| workflows::verdict(conn, &id, batch)).await?
        {
            return Ok(known);
        }
        let unwell = self.unwell(health, ended, envoys).await?;
        let (id, found) = (self.id.clone(), unwell.clone());
        self.context.store.call(move |conn| workflows::judge(conn, &id, batch, &found)).await?;
        Ok(unwell)
    }

    /// Looks until each of them has said something after `ended`, or had the time to.
    async fn unwell(
        &self,
        health: Health,
        ended: u64,
        envoys: &[(String, String)],
    ) -> Result<Vec<String>, Stop> {
        if health == Health::Converged {
            self.ask_for_runs(envoys).await?;
        }
        let (mut waiting, mut bad) = (Vec::new(), Vec::new());
        waiting.extend(envoys.iter().map(|(id, hostname)| Waiting { id, hostname, seen: 0, looks: 0 }));
        loop {
            let mut claimed = Instant::now();
            self.claim().await?;
            let mut left = Vec::new();
            for mut envoy in waiting {
                if claimed.elapsed() > LOOK {
                    self.claim().await?;
                    claimed = Instant::now();
                }
                match self.well(health, ended, &mut envoy).await? {
                    Some(true) => {}
                    Some(false) => bad.push(envoy.hostname.to_owned()),
                    None => left.push(envoy),
                }
            }
            if left.is_empty() {
                return Ok(bad);
            }
            waiting = left;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// `None` when it has not said anything yet and may still.
    async fn well(&self, health: Health, ended: u64, asked: &mut Waiting<'_>) -> Result<Option<bool>, Stop> {
        let Some(envoy) = self.context.fleet.get(asked.id).filter(|e| !e.is_revoked()) else {
            return Ok(Some(false));
        };
        let (seen, interval) = {
            let state = envoy.state();
            (state.last_seen, state.interval_ms)
        };
        match health {
            Health::Ignored => return Ok(Some(true)),
            Health::Reachable => {
                if seen > ended || self.context.dispatch.is_open(asked.id) {
                    return Ok(Some(true));
                }
            }
            Health::Converged => {
                // What another server heard shows in the database only.
                if asked.seen != seen || asked.looks.is_multiple_of(REREAD) {
                    let id = asked.id.to_owned();
                    let last = self.context.store.read(move |conn| runs::latest_whole(conn, &id, 1)).await?;
                    if let Some(run) = last.first().filter(|run| began(run) >= ended) {
                        let status = Status::at(Some(seen), interval, &last, run.received_at);
                        return Ok(Some(status.health == EnvoyHealth::Converged));
                    }
                }
                (asked.seen, asked.looks) = (seen, asked.looks.wrapping_add(1));
            }
        }
        let patience = (interval as f64 * PATIENCE) as u64 + RUN_MS;
        let late = self.context.clock.now() > ended.saturating_add(patience);
        Ok(late.then_some(false))
    }

    /// So that nobody waits for an interval to pass.
    async fn ask_for_runs(&self, envoys: &[(String, String)]) -> Result<(), Stop> {
        let (ids, now): (Vec<String>, _) =
            (envoys.iter().map(|(id, _)| id.clone()).collect(), self.context.clock.now());
        let asked = self.context.store.call(move |conn| {
            conn.transaction(|conn| ids.iter().try_for_each(|id| pushes::ask(conn, id, now)))
        });
        asked.await?;
        for (id, _) in envoys {
            if let Some(envoy) = self.context.fleet.get(id) {
                self.context.dispatch.push(&envoy).await;
            }
        }
        Ok(())
    }
}

/// An envoy that has to show that it is well.
struct Waiting<'a> {
    id: &'a str,
    hostname: &'a str,
    /// When it was seen last, at the last look.
    seen: u64,
    looks: u32,
}

/// When a run began, by the server's clock: that of the envoy is never asked.
fn began(run: &RunRow) -> u64 {
    run.received_at.saturating_sub(run.duration_ms)
}
