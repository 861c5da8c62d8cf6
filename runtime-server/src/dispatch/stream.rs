//! One envoy's stream: how it opens, what is said on it, and why it ends. What becomes of tasks on it stands in [`work`].
//!
//! Nothing waits in memory for an agent that does not read: few orders are under way at once, the others stay in the
//! store, and a stream whose queue is full or whose heartbeats are not answered is closed.

mod work;

use super::Open;
use crate::certified::Certified;
use crate::connection::Peer;
use crate::context::Context;
use crate::fleet::{Envoy, Standing};
use crate::reject::Reject;
use crate::store::lock;
use crate::store::tasks::{PieceRow, State};
use crate::{authorise, check_in, report};
use prost::Message;
use protocol::pb::agent_frame::What as Said;
use protocol::pb::server_frame::What;
use protocol::pb::{AgentFrame, ServerFrame, SignedFrame, StreamHello, StreamOpened, Unit, signed_frame};
use protocol::request::Rpc;
use protocol::stream::FrameVerifier;
use std::collections::BTreeMap;
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
/// Heartbeats that may be unanswered.
const PATIENCE: u64 = 3;
/// Output is stored after so long, or when there is much of it.
const BATCH_AGE: Duration = Duration::from_millis(300);
/// An envoy is seen at every heartbeat; that it was is stored so often in each of its intervals.
const SEEN: u32 = 4;
/// Tasks that an agent says it has not reported.
const MAX_UNREPORTED: usize = 8192;

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
        peer,
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
        looked_at: Instant::now(),
        seen_at: Instant::now(),
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
    peer: Option<Peer>,
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
    /// When it was last asked whether there is something new.
    looked_at: Instant,
    /// When it was last noted that the envoy is there.
    seen_at: Instant,
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
    /// The agent was told that it is taken back.
    cancelled: bool,
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
                    let pushed = open.push.swap(false, Ordering::SeqCst);
                    if open.policy.swap(false, Ordering::SeqCst) || pushed {
                        self.tell_news(!pushed, pushed).await?;
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
                    // What a check-in of its own would find out: a secret that was rotated, say.
                    if self.looked_at.elapsed() >= self.context.checkin.interval {
                        self.tell_news(false, false).await?;
                    }
                }
                () = until(next) => {
                    self.store_output(false).await?;
                    if self.tasks.is_empty() && self.busy_at.elapsed() >= self.linger {
                        if self.context.dispatch.keeps(&self.context.pace) {
                            self.busy_at = Instant::now();
                        } else {
                            self.release()?;
                        }
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

    /// Tells the agent to check in, if it would get something new; or at any rate, if it was pushed.
    async fn tell_news(&mut self, released: bool, pushed: bool) -> Result<(), End> {
        self.looked_at = Instant::now();
        if pushed || check_in::has_news(&self.context, &self.envoy, released).await? {
            self.send(What::PolicyChanged(Unit {}))?;
        }
        Ok(())
    }

    /// Waits until the agent has taken everything: an answer may be as large as a message can be, so there is one at a time.
    async fn room(&self) -> Result<(), End> {
        match tokio::time::timeout(self.heartbeat, self.outgoing.reserve_many(OUTGOING)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Stuck),
        }
    }

    fn release(&mut self) -> Result<(), End> {
        if self.releases >= PATIENCE {
            return Err(End::Stuck);
        }
        self.releases += 1;
        self.busy_at = Instant::now();
        self.send(What::Release(Unit {}))
    }

    async fn take(&mut self, frame: AgentFrame) -> Result<(), End> {
        match frame.what {
            Some(Said::Heartbeat(number)) => {
                self.heard_beats = self.heard_beats.max(number.min(self.sent_beats));
                self.envoy.state().last_seen = self.context.clock.now();
                if self.seen_at.elapsed() >= self.context.checkin.interval / SEEN {
                    self.seen_at = Instant::now();
                    self.context.fleet.touch(&self.envoy);
                }
            }
            Some(Said::CheckIn(signed)) => {
                self.room().await?;
                let reply = check_in::receive(&self.context, self.peer, &signed).await?;
                self.send(What::CheckedIn(reply))?;
            }
            Some(Said::Report(signed)) => {
                self.room().await?;
                let reply = report::receive(&self.context, self.peer, &signed).await?;
                *lock(&self.open.run) = None;
                self.send(What::Reported(reply))?;
            }
            Some(Said::Progress(progress)) => self.open.progress(progress),
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
                // What has its result comes again when an acknowledgement was lost.
                match self.tasks.remove(&id) {
                    Some(task) => self.end(ended, task.pieces).await?,
                    None if self.is_missing(&id).await? => self.end(ended, Vec::new()).await?,
                    None => {}
                }
                self.send(What::Acknowledged(id))?;
                self.busy_at = Instant::now();
                self.go_on().await?;
            }
            None => {}
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
