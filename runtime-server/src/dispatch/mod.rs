//! Work for envoys while they are there: streams, tasks, queries, workflows.
//!
//! What is to be done stands in the store, so any server of a cluster can hand it out and none loses it. In memory are
//! the streams that are open here and which envoys have work, so that a check-in can say "open a stream" without looking
//! into the store. [`stream`] is one envoy's stream, [`target`] finds envoys, [`task`] makes tasks,
//! [`workflow`] makes one after the other.

pub mod condition;
pub mod stream;
pub mod target;
pub mod task;
pub mod workflow;

use crate::context::Context;
use crate::fleet::Envoy;
use crate::store::{StoreError, Topic, lock, tasks};
use std::collections::HashMap;
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

/// The times of a stream; other ones in tests.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// How long a stream without work stays open: operators rarely ask one thing only.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { heartbeat: Duration::from_secs(15), linger: Duration::from_secs(60) }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Dispatch {
    /// This process among those on one database.
    driver: String,
    streams: Mutex<HashMap<Arc<str>, Arc<Open>>>,
    /// Envoys with work, and the latest task of each.
    working: Mutex<HashMap<Arc<str>, String>>,
    /// A result came in: somebody may have no work any more.
    finished: AtomicBool,
    numbers: AtomicU64,
    /// The times of streams opened from now on.
    pub limits: Mutex<Limits>,
}

impl Default for Dispatch {
    fn default() -> Self {
        Dispatch {
            driver: uuid::Uuid::new_v4().to_string(),
            streams: Mutex::default(),
            working: Mutex::default(),
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
    policy: AtomicBool,
    close: AtomicBool,
}

impl Open {
    fn tell(&self, what: &AtomicBool) {
        what.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }
}

impl Dispatch {
    /// Whether an envoy has work and no stream here.
    pub fn wants_stream(&self, envoy: &Envoy) -> bool {
        lock(&self.working).contains_key(&envoy.id) && !self.is_open(&envoy.id)
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
            close: AtomicBool::new(false),
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
    changed.mark_changed();
    let mut generation = context.catalog.release().map(|r| r.generation);
    let mut looked = Instant::now();
    let mut adopted = Instant::now();
    loop {
        let heard = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            heard = changed.changed() => match heard {
                Ok(()) => true,
                Err(_) => break,
            },
            () = tokio::time::sleep(LOOK.saturating_sub(looked.elapsed())) => {
                dispatch.finished.swap(false, Ordering::SeqCst)
            }
        };
        if heard && let Err(e) = distribute(&context).await {
            tracing::error!(error = %e, "cannot see who has work; will try again");
            dispatch.finished.store(true, Ordering::SeqCst);
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

async fn distribute(context: &Context) -> Result<(), StoreError> {
    let envoys = context.store.read(tasks::open_envoys).await?;
    let working: HashMap<Arc<str>, String> =
        envoys.into_iter().map(|(envoy, task)| (envoy.into(), task)).collect();
    let before = std::mem::replace(&mut *lock(&context.dispatch.working), working.clone());
    context.dispatch.for_each(|open| {
        let (was, is) = (before.get(&open.envoy.id), working.get(&open.envoy.id));
        if is.is_some() && was != is {
            open.tell(&open.work);
        }
    });
    Ok(())
}

/// Only where something is open: an idle server asks nothing of its database.
async fn expire(context: &Context) {
    let working: Vec<Arc<str>> = lock(&context.dispatch.working).keys().cloned().collect();
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
