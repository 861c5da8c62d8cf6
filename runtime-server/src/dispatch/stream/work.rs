//! Tasks on a stream: orders, output, results, and what happens to them when a stream breaks.

use super::{Assigned, BATCH_AGE, End, Stream};
use crate::reject::Reject;
use crate::store::tasks::{self, OpenWork, PieceRow, State};
use prost::Message;
use protocol::pb::server_frame::What;
use protocol::pb::task_work::Work;
use protocol::pb::{StreamHello, TaskEnded, TaskOrder, TaskOutcome, TaskOutput, TaskWork};
use protocol::task::{MAX_ANSWER_BYTES, MAX_PIECE_BYTES};
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Orders that an agent was sent and has not begun.
const WINDOW: usize = 8;
/// Bytes of output that are stored at once.
const BATCH_BYTES: usize = 64 << 10;
/// Tasks that an agent has not reported and that may come after their deadline.
const MAX_LATE: usize = 256;
/// Bytes of an agent's error.
const MAX_ERROR: usize = 2048;

impl Stream {
    /// Brings what the store knows and what the agent says together.
    pub(super) async fn reconcile(&mut self, hello: &StreamHello) -> Result<(), End> {
        let unreported: HashSet<&str> = hello.unreported.iter().map(String::as_str).collect();
        for open in self.open_work().await? {
            if unreported.contains(open.task.id.as_str()) {
                self.assign(&open, true);
            } else if open.state == State::Running {
                // It had begun, and its agent knows nothing of it any more: it will not be begun again.
                self.end_here(open, TaskOutcome::TaskUnknown, "the agent has no record of it any more")
                    .await?;
            } else if open.state == State::Sent && open.task.cancelled_at.is_some() {
                // It was sent on another stream, and the agent has no record of it: it has not begun, and never will.
                self.end_here(open, TaskOutcome::TaskCancelled, "cancelled before it began").await?;
            }
        }
        // Their deadline is over, but the agent has results after all.
        for id in unreported.into_iter().take(MAX_LATE) {
            if self.tasks.contains_key(id) {
                continue;
            }
            let (task, envoy) = (id.to_owned(), self.envoy.id.clone());
            let found = self.context.store.read(move |conn| tasks::work_of(conn, &task, &envoy)).await;
            if let Some(open) = found.map_err(Reject::from)?
                && open.state == State::Unknown
            {
                self.assign(&open, true);
            }
        }
        Ok(())
    }

    /// Gives a task the outcome that follows from what the agent does not know.
    async fn end_here(&self, open: OpenWork, outcome: TaskOutcome, why: &str) -> Result<(), End> {
        let ended = TaskEnded {
            task_id: open.task.id,
            outcome: outcome.into(),
            error: why.to_owned(),
            ..TaskEnded::default()
        };
        self.end(ended, Vec::new()).await
    }

    async fn open_work(&self) -> Result<Vec<OpenWork>, End> {
        let envoy = self.envoy.id.clone();
        let open = self.context.store.read(move |conn| tasks::open_work(conn, &envoy)).await;
        Ok(open.map_err(Reject::from)?)
    }

    fn assign(&mut self, open: &OpenWork, begun: bool) {
        let limit = match TaskWork::decode(open.task.work.as_slice()).ok().and_then(|w| w.work) {
            Some(Work::Command(command)) => command.max_output as usize,
            _ => MAX_ANSWER_BYTES,
        };
        self.tasks.insert(open.task.id.clone(), Assigned { begun, limit, ..Assigned::default() });
        self.busy_at = Instant::now();
        self.releases = 0;
    }

    /// Takes back what was cancelled, and sends orders, as many as the window takes.
    pub(super) async fn deliver(&mut self) -> Result<(), End> {
        self.more = false;
        let now = self.context.clock.now();
        for open in self.open_work().await? {
            if open.task.cancelled_at.is_some() {
                if let Some(task) = self.tasks.get_mut(&open.task.id)
                    && !std::mem::replace(&mut task.cancelled, true)
                {
                    tracing::info!(task = open.task.id, envoy = %self.envoy.id, "task is to be stopped");
                    self.send(What::Cancel(open.task.id))?;
                }
                continue;
            }
            if self.tasks.contains_key(&open.task.id)
                || open.state == State::Running
                || open.task.not_after < now
            {
                continue;
            }
            if self.tasks.values().filter(|t| !t.begun).count() >= WINDOW {
                self.more = true;
                break;
            }
            self.order(open).await?;
        }
        Ok(())
    }

    async fn order(&mut self, open: OpenWork) -> Result<(), End> {
        let live = self.context.keys.current();
        if live.id.0.as_slice() != self.key_id {
            return Err(End::Key);
        }
        let work = TaskWork::decode(open.task.work.as_slice());
        let order = TaskOrder {
            cluster_id: self.context.cluster_id.clone(),
            envoy_id: self.envoy.id.to_string(),
            task_id: open.task.id.clone(),
            epoch: live.epoch,
            created_at: open.task.created_at,
            not_after: open.task.not_after,
            work: Some(work.map_err(|_| Reject::Internal)?),
            nonce: self.nonce.clone(),
            sent_at: self.context.clock.now(),
        };
        // Before it is sent: what was sent may run.
        if !self.moved(open.task.id.clone(), State::Sent).await? {
            return Ok(());
        }
        self.send(What::Task(protocol::task::seal(&live.key, &order)))?;
        tracing::info!(
            task = open.task.id, what = open.task.summary, envoy = %self.envoy.id, host = self.envoy.hostname,
            "task sent"
        );
        self.assign(&open, false);
        Ok(())
    }

    /// Whether a result is still missing for a task that is not expected on this stream: a result is acknowledged only when it
    /// is stored, for the agent forgets it then.
    pub(super) async fn is_missing(&self, task: &str) -> Result<bool, End> {
        let (task, envoy) = (task.to_owned(), self.envoy.id.clone());
        let found = self.context.store.read(move |conn| tasks::work_of(conn, &task, &envoy)).await;
        Ok(found
            .map_err(Reject::from)?
            .is_some_and(|open| open.state.is_open() || open.state == State::Unknown))
    }

    pub(super) async fn moved(&self, task: String, to: State) -> Result<bool, End> {
        let (envoy, now) = (self.envoy.id.clone(), self.context.clock.now());
        let moved = self.context.store.call(move |conn| tasks::moved(conn, &task, &envoy, to, now)).await;
        Ok(moved.map_err(Reject::from)?)
    }

    pub(super) async fn go_on(&mut self) -> Result<(), End> {
        if self.more { self.deliver().await } else { Ok(()) }
    }

    pub(super) async fn take_output(&mut self, output: TaskOutput) -> Result<(), End> {
        // Of a task that has its result already: it comes again because an acknowledgement was lost.
        let Some(task) = self.tasks.get_mut(&output.task_id) else { return Ok(()) };
        task.received += output.data.len();
        if output.piece != task.next || output.data.len() > MAX_PIECE_BYTES || task.received > task.limit {
            return Err(Reject::Malformed("output out of order, or more of it than was asked for").into());
        }
        task.next += 1;
        task.bytes += output.data.len();
        task.since.get_or_insert_with(Instant::now);
        let source = output.source() as u32;
        task.pieces.push(PieceRow { piece: output.piece, source, data: output.data });
        if task.bytes >= BATCH_BYTES { self.store_output(false).await } else { Ok(()) }
    }

    /// Stores output that is enough or old enough, or all of it.
    pub(super) async fn store_output(&mut self, all: bool) -> Result<(), End> {
        for (id, task) in &mut self.tasks {
            let due =
                task.bytes >= BATCH_BYTES || task.since.is_some_and(|since| since.elapsed() >= BATCH_AGE);
            if task.pieces.is_empty() || !(due || all) {
                continue;
            }
            let pieces = std::mem::take(&mut task.pieces);
            (task.bytes, task.since) = (0, None);
            let (id, envoy) = (id.clone(), self.envoy.id.clone());
            let stored = self.context.store.call(move |conn| tasks::put_output(conn, &id, &envoy, &pieces));
            stored.await.map_err(Reject::from)?;
        }
        Ok(())
    }

    pub(super) async fn end(&self, mut ended: TaskEnded, pieces: Vec<PieceRow>) -> Result<(), End> {
        crate::report::shorten(&mut ended.error, MAX_ERROR);
        let outcome = State::from(ended.outcome()).word();
        let (task, envoy, now) = (ended.task_id.clone(), self.envoy.id.clone(), self.context.clock.now());
        let stored =
            self.context.store.call(move |conn| tasks::end(conn, &envoy, &ended, &pieces, now)).await;
        if stored.map_err(Reject::from)? {
            tracing::info!(
                task, outcome, envoy = %self.envoy.id, host = self.envoy.hostname, "task ended"
            );
            self.context.dispatch.finished.store(true, Ordering::SeqCst);
        }
        Ok(())
    }
}
