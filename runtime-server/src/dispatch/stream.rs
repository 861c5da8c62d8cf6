//! One envoy's stream.
//!
//! Nothing waits in memory for an agent that does not read: few orders are under way at once, the others stay in the
//! store, and a stream whose queue is full or whose heartbeats are not answered is closed.

use super::Open;
use crate::authorise;
use crate::certified::Certified;
use crate::connection::Peer;
use crate::context::Context;
use crate::fleet::{Envoy, Standing};
use crate::reject::Reject;
use crate::store::lock;
use crate::store::tasks::{self, OpenWork, PieceRow, State};
use prost::Message;
use protocol::pb::agent_frame::What as Said;
use protocol::pb::server_frame::What;
use protocol::pb::task_work::Work;
use protocol::pb::{
    AgentFrame, ServerFrame, SignedFrame, StreamHello, StreamOpened, TaskEnded, TaskOrder, TaskOutput,
    TaskWork, Unit, signed_frame,
};
use protocol::request::Rpc;
use protocol::stream::FrameVerifier;
use protocol::task::{MAX_ANSWER_BYTES, MAX_PIECE_BYTES};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// From the connection to the first frame.
const OPENING: Duration = Duration::from_secs(10);
/// Frames that an agent has not taken.
const OUTGOING: usize = 32;
/// Orders that an agent was sent and has not begun.
const WINDOW: usize = 8;
/// Heartbeats that may be unanswered.
const PATIENCE: u64 = 3;
/// Output is stored in batches: so many bytes, or after so long.
const BATCH_BYTES: usize = 64 << 10;
const BATCH_AGE: Duration = Duration::from_millis(300);
/// Tasks that an agent says it has not reported.
const MAX_UNREPORTED: usize = 8192;
/// Of these, how many may come after their deadline.
const MAX_LATE: usize = 256;
/// Bytes of an agent's error.
const MAX_ERROR: usize = 2048;

/// What goes to the agent.
pub type Outgoing = ReceiverStream<Result<ServerFrame, Status>>;

/// Lets an agent's stream in and serves it on a task of its own.
pub async fn open(
    context: Arc<Context>,
    peer: Option<Peer>,
    mut incoming: Streaming<SignedFrame>,
) -> Result<Outgoing, Status> {
    let first = tokio::time::timeout(OPENING, incoming.message()).await;
    let first = first.map_err(|_| Reject::Malformed("a stream begins with a request"))??;
    let Some(signed_frame::Frame::Opening(opening)) = first.and_then(|f| f.frame) else {
        return Err(Reject::Malformed("a stream begins with a request").into());
    };
    let caller = authorise::admit(&context, Rpc::Stream, peer, &opening).await?;
    let (outgoing, frames) = mpsc::channel(OUTGOING);
    if caller.stale_key {
        let statement = context.keys.current().statement.clone();
        // There is room: it is the first.
        let _ = outgoing.try_send(Ok(frame(What::StaleKey(statement))));
        return Ok(ReceiverStream::new(frames));
    }
    let hello = StreamHello::decode(opening.payload.as_slice());
    let hello = hello.ok().filter(|h| h.unreported.len() <= MAX_UNREPORTED);
    let hello = hello.ok_or(Reject::Malformed("not a hello"))?;
    let open = context.dispatch.opened(&caller.envoy);
    let limits = *lock(&context.dispatch.limits);
    let stream = Stream {
        verifier: FrameVerifier::new(caller.certified.key, &opening.header),
        certified: caller.certified,
        key_id: caller.header.key_id,
        nonce: caller.header.nonce,
        envoy: caller.envoy,
        context,
        open,
        outgoing,
        tasks: BTreeMap::new(),
        more: false,
        heartbeat: limits.heartbeat,
        linger: limits.linger,
        sent_beats: 0,
        heard_beats: 0,
        busy_at: Instant::now(),
        releases: 0,
    };
    tokio::spawn(stream.run(incoming, hello));
    Ok(ReceiverStream::new(frames))
}

fn frame(what: What) -> ServerFrame {
    ServerFrame { what: Some(what) }
}

/// Why a stream ends.
#[derive(Debug)]
enum End {
    /// The agent closed it, or its connection broke.
    Gone,
    /// It was told to: revoked, replaced, or the server stops.
    Closed,
    /// The agent does not read, or does not answer.
    Stuck,
    /// There is another signing key.
    Key,
    /// The agent broke a rule.
    Refused(Reject),
}

impl From<Reject> for End {
    fn from(reject: Reject) -> Self {
        End::Refused(reject)
    }
}

struct Stream {
    context: Arc<Context>,
    envoy: Arc<Envoy>,
    open: Arc<Open>,
    verifier: FrameVerifier,
    /// What the agent came with.
    certified: Certified,
    /// Of the signing key that the agent trusts.
    key_id: Vec<u8>,
    /// Of the opening.
    nonce: Vec<u8>,
    outgoing: mpsc::Sender<Result<ServerFrame, Status>>,
    /// By id: sent on this stream, or expected on it.
    tasks: BTreeMap<String, Assigned>,
    /// There was more than the window takes.
    more: bool,
    heartbeat: Duration,
    linger: Duration,
    sent_beats: u64,
    heard_beats: u64,
    busy_at: Instant,
    releases: u64,
}

/// A task under way on this stream.
#[derive(Debug, Default)]
struct Assigned {
    begun: bool,
    /// Bytes of output that the agent may send.
    limit: usize,
    received: usize,
    next: u32,
    /// Not stored yet.
    pieces: Vec<PieceRow>,
    bytes: usize,
    since: Option<Instant>,
}

impl Stream {
    async fn run(mut self, mut incoming: Streaming<SignedFrame>, hello: StreamHello) {
        tracing::debug!(envoy = %self.envoy.id, host = self.envoy.hostname, "stream open");
        let end = self.serve(&mut incoming, hello).await;
        self.context.dispatch.closed(&self.open);
        let (envoy, host) = (&*self.envoy.id, self.envoy.hostname.as_str());
        let status = match end {
            Ok(()) | Err(End::Gone) => {
                tracing::debug!(envoy, host, "stream closed by the agent");
                return;
            }
            Err(End::Closed) if self.envoy.is_revoked() => {
                tracing::info!(envoy, host, "stream cut: the envoy was revoked");
                Reject::Revoked.into()
            }
            Err(End::Closed) => Status::unavailable("the stream was replaced, or the server stops"),
            Err(End::Stuck) => {
                tracing::warn!(envoy, host, "stream closed: the agent does not read it");
                Status::resource_exhausted("the stream is not read")
            }
            Err(End::Key) => {
                let statement = self.context.keys.current().statement.clone();
                let _ = self.outgoing.try_send(Ok(frame(What::StaleKey(statement))));
                return;
            }
            Err(End::Refused(reject)) => {
                tracing::warn!(envoy, host, reason = reject.reason(), "stream closed: {reject}");
                reject.into()
            }
        };
        // Full: then the agent learns it from the end of the stream.
        let _ = self.outgoing.try_send(Err(status));
    }

    async fn serve(&mut self, incoming: &mut Streaming<SignedFrame>, hello: StreamHello) -> Result<(), End> {
        let heartbeat_ms = u32::try_from(self.heartbeat.as_millis()).unwrap_or(u32::MAX);
        self.send(What::Opened(StreamOpened { heartbeat_ms }))?;
        self.reconcile(&hello).await?;
        let mut beat = tokio::time::interval(self.heartbeat);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        beat.tick().await;
        loop {
            let store_at = self.tasks.values().filter_map(|t| t.since).min().map(|since| since + BATCH_AGE);
            let idle_at = self.tasks.is_empty().then(|| self.busy_at + self.linger);
            let next = [store_at, idle_at].into_iter().flatten().min();
            let open = self.open.clone();
            tokio::select! {
                received = incoming.message() => match received {
                    Ok(Some(SignedFrame { frame: Some(signed_frame::Frame::Later(later)) })) => {
                        let frame = self.verifier.open(&later).map_err(|e| {
                            tracing::warn!(envoy = %self.envoy.id, error = %e, "a frame is refused");
                            End::Refused(Reject::Request(protocol::request::RequestError::BadSignature))
                        })?;
                        self.take(frame).await?;
                    }
                    Ok(Some(_)) => return Err(Reject::Malformed("not a later frame of a stream").into()),
                    Ok(None) | Err(_) => {
                        self.store_output(true).await?;
                        return Err(End::Gone);
                    }
                },
                () = open.wake.notified() => {
                    if open.close.load(Ordering::SeqCst) || self.envoy.is_revoked() {
                        return Err(End::Closed);
                    }
                    if open.policy.swap(false, Ordering::SeqCst) {
                        self.send(What::PolicyChanged(Unit {}))?;
                    }
                    if open.work.swap(false, Ordering::SeqCst) {
                        self.deliver().await?;
                    }
                }
                _ = beat.tick() => {
                    if self.envoy.is_revoked() || self.has_another_certificate() {
                        return Err(End::Closed);
                    }
                    if self.sent_beats - self.heard_beats >= PATIENCE {
                        return Err(End::Stuck);
                    }
                    self.sent_beats += 1;
                    self.send(What::Heartbeat(self.sent_beats))?;
                }
                () = until(next) => {
                    self.store_output(false).await?;
                    if self.tasks.is_empty() && self.busy_at.elapsed() >= self.linger {
                        self.release()?;
                    }
                }
            }
        }
    }

    /// It came with the one before, and the time of that is over: it opens another stream with the one it has now.
    fn has_another_certificate(&self) -> bool {
        let standing = self.envoy.standing(&self.certified, self.context.clock.now());
        matches!(standing, Standing::Replaced | Standing::Stranger)
    }

    /// Never waits: an agent that does not read must not hold up anything.
    fn send(&self, what: What) -> Result<(), End> {
        self.outgoing.try_send(Ok(frame(what))).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => End::Stuck,
            mpsc::error::TrySendError::Closed(_) => End::Gone,
        })
    }

    fn release(&mut self) -> Result<(), End> {
        if self.releases >= PATIENCE {
            return Err(End::Stuck);
        }
        self.releases += 1;
        self.busy_at = Instant::now();
        self.send(What::Release(Unit {}))
    }

    /// Brings what the store knows and what the agent says together.
    async fn reconcile(&mut self, hello: &StreamHello) -> Result<(), End> {
        let unreported: HashSet<&str> = hello.unreported.iter().map(String::as_str).collect();
        for open in self.open_work().await? {
            if unreported.contains(open.task.id.as_str()) {
                self.expect(&open, true);
            } else if open.state == State::Running {
                // It had begun, and its agent knows nothing of it any more: it will not be begun again.
                let ended = TaskEnded {
                    task_id: open.task.id,
                    outcome: protocol::pb::TaskOutcome::TaskUnknown.into(),
                    error: "the agent has no record of it any more".to_owned(),
                    ..TaskEnded::default()
                };
                self.end(ended, Vec::new()).await?;
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
                self.expect(&open, true);
            }
        }
        Ok(())
    }

    async fn open_work(&self) -> Result<Vec<OpenWork>, End> {
        let envoy = self.envoy.id.clone();
        let open = self.context.store.read(move |conn| tasks::open_work(conn, &envoy)).await;
        Ok(open.map_err(Reject::from)?)
    }

    fn expect(&mut self, open: &OpenWork, begun: bool) {
        let limit = match TaskWork::decode(open.task.work.as_slice()).ok().and_then(|w| w.work) {
            Some(Work::Command(command)) => command.max_output as usize,
            _ => MAX_ANSWER_BYTES,
        };
        self.tasks.insert(open.task.id.clone(), Assigned { begun, limit, ..Assigned::default() });
        self.busy_at = Instant::now();
        self.releases = 0;
    }

    /// Sends orders, as many as the window takes.
    async fn deliver(&mut self) -> Result<(), End> {
        self.more = false;
        let now = self.context.clock.now();
        for open in self.open_work().await? {
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
        };
        // Before it is sent: what was sent may run.
        self.moved(open.task.id.clone(), State::Sent).await?;
        self.send(What::Task(protocol::task::seal(&live.key, &order)))?;
        tracing::info!(
            task = open.task.id, what = open.task.summary, envoy = %self.envoy.id, host = self.envoy.hostname,
            "task sent"
        );
        self.expect(&open, false);
        Ok(())
    }

    async fn moved(&self, task: String, to: State) -> Result<(), End> {
        let (envoy, now) = (self.envoy.id.clone(), self.context.clock.now());
        let moved = self.context.store.call(move |conn| tasks::moved(conn, &task, &envoy, to, now)).await;
        Ok(moved.map_err(Reject::from)?)
    }

    async fn take(&mut self, frame: AgentFrame) -> Result<(), End> {
        match frame.what {
            Some(Said::Heartbeat(number)) => {
                self.heard_beats = self.heard_beats.max(number.min(self.sent_beats));
                self.envoy.state.lock().await.last_seen = self.context.clock.now();
                self.context.fleet.touch(&self.envoy);
            }
            Some(Said::Started(started)) => {
                let begins = self
                    .tasks
                    .get_mut(&started.task_id)
                    .is_some_and(|t| !std::mem::replace(&mut t.begun, true));
                if begins {
                    self.moved(started.task_id, State::Running).await?;
                    self.go_on().await?;
                }
            }
            Some(Said::Output(output)) => self.take_output(output).await?,
            Some(Said::Ended(ended)) => {
                let id = ended.task_id.clone();
                // What is not expected has its result: it comes again because an acknowledgement was lost.
                if let Some(task) = self.tasks.remove(&id) {
                    self.end(ended, task.pieces).await?;
                }
                self.send(What::Acknowledged(id))?;
                self.busy_at = Instant::now();
                self.go_on().await?;
            }
            None => {}
        }
        Ok(())
    }

    async fn go_on(&mut self) -> Result<(), End> {
        if self.more { self.deliver().await } else { Ok(()) }
    }

    async fn take_output(&mut self, output: TaskOutput) -> Result<(), End> {
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
    async fn store_output(&mut self, all: bool) -> Result<(), End> {
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

    async fn end(&self, mut ended: TaskEnded, pieces: Vec<PieceRow>) -> Result<(), End> {
        let end = (0..=MAX_ERROR.min(ended.error.len())).rev().find(|at| ended.error.is_char_boundary(*at));
        ended.error.truncate(end.unwrap_or(0));
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

/// A moment, or never.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
