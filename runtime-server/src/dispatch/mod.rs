//! Work for envoys while they are there: streams, tasks, queries, workflows.
//!
//! What is to be done stands in the store, so any server of a cluster can hand it out and none loses it. In memory are
//! the streams that are open here and which envoys have work, so that a check-in can say "open a stream" without looking
//! into the store. [`stream`] is one envoy's stream, [`target`] finds envoys, [`task`] makes tasks,
//! [`workflow`] makes one after the other.
//!
//! An envoy with work always gets a stream. While the server is not busy it keeps some more: whoever checks in while there
//! is room is promoted, and stays until there is none, or until the server is late with its answers.

pub mod condition;
pub mod mistakes;
mod query;
pub mod stream;
pub mod target;
pub mod task;
pub mod workflow;

use crate::context::Context;
use crate::fleet::Envoy;
use crate::pace::Pace;
use crate::store::{StoreError, Topic, lock, pushes, tasks};
use protocol::pb::{ResourceResult, RunProgress};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// How often what needs no event is looked at: revocations, deadlines, another policy.
const LOOK: Duration = Duration::from_secs(1);
/// How often workflows are looked for that nobody carries on.
const ADOPT: Duration = Duration::from_secs(5);
/// The least time between two looks at who has work.
const GATHER: Duration = Duration::from_millis(50);

/// Resources of a run under way that are remembered for those who watch.
const WATCHED: usize = 200;
/// Bytes of a text in them.
const MAX_TEXT: usize = 500;

/// The times of a stream, and how many there are; other ones in tests.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// How long a stream without work stays open: operators rarely ask one thing only.
    pub linger: Duration,
    /// How many streams are kept open without work while the server is not busy.
    pub keep: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { heartbeat: Duration::from_secs(15), linger: Duration::from_secs(60), keep: 1000 }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Dispatch {
    streams: Mutex<HashMap<Arc<str>, Arc<Open>>>,
    /// Envoys with work.
    working: Mutex<HashSet<Arc<str>>>,
    /// Envoys that are to get their bundle again.
    pushed: Mutex<HashSet<String>>,
    /// A result came in: somebody may have no work any more.
    finished: AtomicBool,
    numbers: AtomicU64,
    /// The times of streams opened from now on.
    pub limits: Mutex<Limits>,
}

impl Default for Dispatch {
    fn default() -> Self {
        Dispatch {
            streams: Mutex::default(),
            working: Mutex::default(),
            pushed: Mutex::default(),
            finished: AtomicBool::new(false),
            numbers: AtomicU64::new(0),
            limits: Mutex::default(),
        }
    }
}

/// A stream that is open here.
#[derive(Debug)]
pub struct Open {
    number: u64,
    envoy: Arc<Envoy>,
    /// There is something to look at.
    wake: Notify,
    work: AtomicBool,
    /// There may be another policy.
    policy: AtomicBool,
    /// Its bundle is to be sent again.
    push: AtomicBool,
    close: AtomicBool,
    run: Mutex<Option<Running>>,
}

/// A run under way on an envoy, as far as it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// UUIDv7.
    pub run_id: String,
    /// By the envoy's clock.
    pub started_at: u64,
    /// Resources that have their outcome.
    pub done: u32,
    /// Those that changed or failed, the latest last; the first ones of many are forgotten.
    pub results: Vec<ResourceResult>,
}

impl Open {
    fn progress(&self, told: RunProgress) {
        let mut run = lock(&self.run);
        let run = match run.as_mut().filter(|run| run.run_id == told.run_id) {
            Some(run) => run,
            None => run.insert(Running {
                run_id: told.run_id,
                started_at: told.started_at,
                done: 0,
                results: Vec::new(),
            }),
        };
        run.done = run.done.max(told.done);
        let results = told.results.into_iter().rev().take(WATCHED).map(|mut result| {
            crate::report::shorten_texts(&mut result, MAX_TEXT);
            result
        });
        run.results.extend(results.collect::<Vec<_>>().into_iter().rev());
        let forgotten = run.results.len().saturating_sub(WATCHED);
        run.results.drain(..forgotten);
    }

    fn tell(&self, what: &AtomicBool) {
        what.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }
}

impl Dispatch {
    /// One that keeps so many streams open without work.
    pub fn keeping(keep: usize) -> Self {
        let dispatch = Dispatch::default();
        lock(&dispatch.limits).keep = keep;
        dispatch
    }

    /// Whether an envoy is to open a stream: it has none here, and there is work for it, or room.
    pub fn wants_stream(&self, envoy: &Envoy, pace: &Pace) -> bool {
        if self.is_open(&envoy.id) {
            return false;
        }
        let room = pace.is_calm() && self.streams() < lock(&self.limits).keep;
        room || lock(&self.working).contains(&envoy.id)
    }

    /// Whether a stream without work may stay.
    fn keeps(&self, pace: &Pace) -> bool {
        pace.is_calm() && self.streams() <= lock(&self.limits).keep
    }

    /// The run under way on an envoy whose stream is open here.
    pub fn running(&self, envoy_id: &str) -> Option<Running> {
        let open = lock(&self.streams).get(envoy_id).cloned()?;
        let run = lock(&open.run);
        run.clone()
    }

    /// Sends an envoy its bundle again, as it is on record that it is to get it: now when its stream is open here.
    pub async fn push(&self, envoy: &Envoy) {
        lock(&self.pushed).insert(envoy.id.to_string());
        envoy.state().forced = true;
        self.tell_push(&envoy.id);
    }

    fn tell_push(&self, envoy_id: &str) {
        let open = lock(&self.streams).get(envoy_id).cloned();
        if let Some(open) = open {
            open.tell(&open.push);
        }
    }

    /// Whether an envoy's stream is open here.
    pub fn is_open(&self, envoy_id: &str) -> bool {
        lock(&self.streams).contains_key(envoy_id)
    }

    /// How many streams are open here.
    pub fn streams(&self) -> usize {
        lock(&self.streams).len()
    }

    /// A new stream of an envoy; an older one is closed, for an agent has one.
    fn opened(&self, envoy: &Arc<Envoy>) -> Arc<Open> {
        let open = Arc::new(Open {
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            envoy: envoy.clone(),
            wake: Notify::new(),
            work: AtomicBool::new(true),
            policy: AtomicBool::new(false),
            push: AtomicBool::new(lock(&self.pushed).contains(&*envoy.id)),
            close: AtomicBool::new(false),
            run: Mutex::default(),
        });
        open.wake.notify_one();
        if let Some(before) = lock(&self.streams).insert(envoy.id.clone(), open.clone()) {
            before.tell(&before.close);
        }
        open
    }

    fn closed(&self, open: &Open) {
        let mut streams = lock(&self.streams);
        if streams.get(&open.envoy.id).is_some_and(|now| now.number == open.number) {
            streams.remove(&open.envoy.id);
        }
    }

    fn for_each(&self, mut look: impl FnMut(&Open)) {
        let streams: Vec<Arc<Open>> = lock(&self.streams).values().cloned().collect();
        streams.iter().for_each(|open| look(open));
    }
}

/// Hands out work as it comes, closes what must be closed, until `stop` turns true.
pub async fn look_after(context: Arc<Context>, mut stop: watch::Receiver<bool>) {
    let dispatch = &context.dispatch;
    let mut changed = context.store.watch(Topic::Tasks);
    let mut pushed = context.store.watch(Topic::Pushes);
    changed.mark_changed();
    pushed.mark_changed();
    let mut generation = context.catalog.release().map(|r| r.generation);
    let mut looked = Instant::now();
    let mut adopted = Instant::now();
    loop {
        // Nothing is awaited before the choice is made: what `stop` gives must not be held meanwhile.
        let heard = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            heard = changed.changed() => heard.map(|()| (true, false)),
            heard = pushed.changed() => heard.map(|()| (false, true)),
            () = tokio::time::sleep(LOOK.saturating_sub(looked.elapsed())) => {
                Ok((dispatch.finished.swap(false, Ordering::SeqCst), false))
            }
        };
        let Ok((work, pushes)) = heard else { break };
        if work && let Err(e) = distribute(&context).await {
            tracing::error!(error = %e, "cannot see who has work; will try again");
            dispatch.finished.store(true, Ordering::SeqCst);
        }
        if pushes && let Err(e) = take_pushes(&context).await {
            tracing::error!(error = %e, "cannot see who gets its bundle again; will try again");
            pushed.mark_changed();
            tokio::time::sleep(GATHER).await;
        }
        if looked.elapsed() < LOOK {
            // Many words in a short time are one.
            tokio::time::sleep(GATHER).await;
            continue;
        }
        looked = Instant::now();
        dispatch.for_each(|open| {
            if open.envoy.is_revoked() {
                open.tell(&open.close);
            }
        });
        let now = context.catalog.release().map(|r| r.generation);
        if now != generation {
            generation = now;
            dispatch.for_each(|open| open.tell(&open.policy));
        }
        expire(&context).await;
        if adopted.elapsed() >= ADOPT {
            adopted = Instant::now();
            workflow::adopt(&context).await;
        }
    }
    dispatch.for_each(|open| open.tell(&open.close));
}

/// Whoever asked, and at whichever server: the envoy gets its bundle from the one it speaks to.
async fn take_pushes(context: &Context) -> Result<(), StoreError> {
    let now: HashSet<String> = context.store.read(pushes::waiting).await?.into_iter().collect();
    let before = std::mem::replace(&mut *lock(&context.dispatch.pushed), now.clone());
    for id in before.symmetric_difference(&now) {
        let Some(envoy) = context.fleet.get(id) else { continue };
        let forced = now.contains(id);
        envoy.state().forced = forced;
        if forced {
            context.dispatch.tell_push(id);
        }
    }
    Ok(())
}

async fn distribute(context: &Context) -> Result<(), StoreError> {
    let (envoys, stopped) =
        context.store.read(|conn| Ok((tasks::open_envoys(conn)?, tasks::to_be_stopped(conn)?))).await?;
    // Work that waits while a stream is open is what the stream has not heard of, or has no room for yet.
    let mut news: HashSet<String> = stopped.into_iter().collect();
    news.extend(envoys.iter().filter(|(_, waits)| *waits).map(|(envoy, _)| envoy.clone()));
    *lock(&context.dispatch.working) = envoys.into_iter().map(|(envoy, _)| envoy.into()).collect();
    context.dispatch.for_each(|open| {
        if news.contains(&*open.envoy.id) {
            open.tell(&open.work);
        }
    });
    Ok(())
}

/// Only where something is open: an idle server asks nothing of its database.
async fn expire(context: &Context) {
    let working: Vec<Arc<str>> = lock(&context.dispatch.working).iter().cloned().collect();
    if working.is_empty() {
        return;
    }
    let gone = |id: &Arc<str>| context.fleet.get(id).is_some_and(|envoy| envoy.is_revoked());
    let revoked: Vec<Arc<str>> = working.into_iter().filter(gone).collect();
    let now = context.clock.now();
    let done = context
        .store
        .call(move |conn| {
            revoked.iter().try_for_each(|id| tasks::give_up(conn, id, now))?;
            Ok(tasks::expire(conn, now)? > 0 || !revoked.is_empty())
        })
        .await;
    match done {
        Ok(true) => context.dispatch.finished.store(true, Ordering::SeqCst),
        Ok(false) => {}
        Err(e) => tracing::error!(error = %e, "cannot see what has expired; will try again"),
    }
}
