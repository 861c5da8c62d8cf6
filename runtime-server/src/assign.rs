//! Numbers for bundles, stored before the bundle is sent.
//!
//! After a publish many envoys come for a bundle within minutes, and every commit waits for the disk. What comes in
//! while one commit is under way is committed together in the next.

use crate::context::Context;
use crate::reject::Reject;
use crate::store::{envoys, lock};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// The content that an envoy gets under a number.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The envoy.
    pub id: Arc<str>,
    /// Its number.
    pub seq: u64,
    /// Identifies the content.
    pub content: Arc<str>,
    /// What the envoy is told.
    pub policy_version: Arc<str>,
}

/// Those that wait; see the module.
#[derive(Debug, Default)]
pub struct Assignments(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<(Assignment, oneshot::Sender<bool>)>,
    /// Whether somebody will look at `waiting` again.
    at_work: bool,
}

/// Returns when it is stored.
pub async fn store(context: &Arc<Context>, assignment: Assignment) -> Result<(), Reject> {
    let (done, stored) = oneshot::channel();
    let idle = {
        let mut queue = lock(&context.assignments.0);
        queue.waiting.push((assignment, done));
        !std::mem::replace(&mut queue.at_work, true)
    };
    if idle {
        // On its own: the request that began it may be given up, the others wait on.
        tokio::spawn(work(context.clone()));
    }
    match stored.await {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(Reject::Internal),
    }
}

async fn work(context: Arc<Context>) {
    loop {
        let waiting = {
            let mut queue = lock(&context.assignments.0);
            queue.at_work = !queue.waiting.is_empty();
            std::mem::take(&mut queue.waiting)
        };
        if waiting.is_empty() {
            return;
        }
        let (batch, answers): (Vec<Assignment>, Vec<_>) = waiting.into_iter().unzip();
        let stored = context.store.call(move |conn| {
            conn.transaction(|conn| {
                batch
                    .iter()
                    .try_for_each(|a| envoys::assign(conn, &a.id, a.seq, &a.content, &a.policy_version))
            })
        });
        let stored = stored.await;
        if let Err(e) = &stored {
            tracing::error!(error = %e, envoys = answers.len(), "cannot store the numbers of bundles; none is sent");
        }
        for answer in answers {
            // Whoever gave up does not listen.
            let _ = answer.send(stored.is_ok());
        }
    }
}
