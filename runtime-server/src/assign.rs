//! Numbers for bundles, stored before the bundle is sent.
//!
//! After a publish many envoys come for a bundle within minutes, and every commit waits for the disk. What comes in
//! while one commit is under way is committed together in the next.

use crate::context::Context;
use crate::live_key::MAX_JUMP;
use crate::reject::Reject;
use crate::store::envoys::{self, Assigned, Unassigned, Wanted};
use crate::store::lock;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// The number, or why this envoy gets none; `None` when nothing could be stored.
type Answer = Option<Result<Assigned, Unassigned>>;

/// Those that wait; see the module.
#[derive(Debug, Default)]
pub struct Assignments(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<(Wanted, oneshot::Sender<Answer>)>,
    /// Whether somebody will look at `waiting` again.
    at_work: bool,
}

/// Returns when it is stored, with the number; see [`envoys::assign`] for the error inside.
pub async fn store(context: &Arc<Context>, wanted: Wanted) -> Result<Result<Assigned, Unassigned>, Reject> {
    let (done, stored) = oneshot::channel();
    let idle = {
        let mut queue = lock(&context.assignments.0);
        queue.waiting.push((wanted, done));
        !std::mem::replace(&mut queue.at_work, true)
    };
    if idle {
        // On its own: the request that began it may be given up, the others wait on.
        tokio::spawn(work(context.clone()));
    }
    stored.await.ok().flatten().ok_or(Reject::Internal)
}

async fn work(context: Arc<Context>) {
    loop {
        let mut waiting = {
            let mut queue = lock(&context.assignments.0);
            queue.at_work = !queue.waiting.is_empty();
            std::mem::take(&mut queue.waiting)
        };
        if waiting.is_empty() {
            return;
        }
        // In one order for all servers, so that two of them wait for each other and do not cross.
        waiting.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        let (batch, answers): (Vec<Wanted>, Vec<_>) = waiting.into_iter().unzip();
        let stored = context.store.call(move |conn| {
            conn.transaction(|conn| {
                batch
                    .iter()
                    .map(|wanted| envoys::assign(conn, wanted, MAX_JUMP))
                    .collect::<Result<Vec<_>, _>>()
            })
        });
        let assigned = match stored.await {
            Ok(assigned) => assigned.into_iter().map(Some).collect(),
            Err(e) => {
                let envoys = answers.len();
                tracing::error!(error = %e, envoys, "cannot store the numbers of bundles; none is sent");
                vec![None; envoys]
            }
        };
        for (answer, assigned) in answers.into_iter().zip(assigned) {
            // Whoever gave up does not listen.
            let _ = answer.send(assigned);
        }
    }
}
