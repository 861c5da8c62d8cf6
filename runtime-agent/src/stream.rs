//! The stream to the server: opened when the server asks for it or there are results to deliver, closed when it
//! says so. It carries; what is done with work stands in [`crate::task`], what a check-in is in [`crate::checkin`].

use crate::agent::back_off;
use crate::checkin::{CheckInError, Conversation};
use crate::clock::Clock;
use crate::daemon::Wake;
use crate::identity::Identity;
use crate::server::{Credential, NetError, runtime};
use crate::store::Store;
use crate::task::{Cursors, Tasks};
use prost::Message;
use protocol::key_statement::TrustedKey;
use protocol::pb::agent_frame::What as Said;
use protocol::pb::server_frame::What;
use protocol::pb::{AgentFrame, SignedFrame, SignedRequest, StreamHello, signed_frame};
use protocol::request::{self, Rpc};
use protocol::stream::FrameSigner;
use protocol::task::OrderError;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

mod carrier;

pub use carrier::Carrier;
pub(crate) use carrier::{Incoming, Outgoing};

/// Heartbeats that may be missing.
const PATIENCE: u32 = 3;
/// Until the server's first frame.
const OPENING: Duration = Duration::from_secs(30);
/// How often the stop flag is looked at while nothing else wakes it.
const GLANCE: Duration = Duration::from_millis(500);
/// The same on an open stream, which is woken when it is to stop.
const IDLE: Duration = Duration::from_secs(10);
/// What the daemon says that is not under way yet.
const SAID: usize = 64;
/// For the answer to what the daemon asks.
const ANSWER: Duration = Duration::from_secs(30);
/// For delivering last results when the agent is stopped.
const FAREWELL: Duration = Duration::from_secs(4);

/// Why a stream ended before the server released it.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    CheckIn(#[from] CheckInError),
    #[error("the server has another signing key now")]
    StaleKey,
    #[error("the server closed the stream")]
    Closed,
    #[error("the server is silent")]
    Silent,
    #[error("the server's first frame makes no sense")]
    Opening,
    #[error("an order of the server is not followed: {0}")]
    Order(#[from] OrderError),
}

/// Everything a stream needs; it lives on a thread of its own.
pub struct StreamParts {
    /// Who speaks.
    pub identity: Identity,
    /// How it reaches the server.
    pub carrier: Carrier,
    /// Keys and counters.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is done and reported.
    pub tasks: Arc<Tasks>,
    /// The process is to end.
    pub stop: Arc<AtomicBool>,
    /// Where the daemon waits.
    pub wake: Sender<Wake>,
    /// What the daemon says on it.
    pub line: Arc<Line>,
    /// Streams that failed one after the other.
    pub failures: Arc<AtomicU32>,
}

/// What the daemon says on the stream, and who waits for an answer.
struct Saying {
    what: Said,
    answer: Option<Sender<What>>,
}

/// The daemon's end of the stream, whether one is open or not.
#[derive(Default)]
pub struct Line {
    open: Mutex<Option<mpsc::Sender<Saying>>>,
    wake: Notify,
    /// The daemon was told to check in and has not begun to.
    due: AtomicBool,
}

impl Line {
    fn sayings(&self) -> MutexGuard<'_, Option<mpsc::Sender<Saying>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, saying: Saying) -> bool {
        let said = self.sayings().as_ref().is_some_and(|sayings| sayings.try_send(saying).is_ok());
        self.wake.notify_one();
        said
    }

    /// Whether the server has taken a stream and is there.
    pub fn is_open(&self) -> bool {
        self.sayings().is_some()
    }

    /// What the server answers; `None` when there is no stream, or it ended first. Blocks.
    pub fn ask(&self, what: Said) -> Option<What> {
        let (answer, answered) = std::sync::mpsc::channel();
        let said = self.say(Saying { what, answer: Some(answer) });
        said.then(|| answered.recv_timeout(ANSWER).ok()).flatten()
    }

    /// Tells the daemon to check in. However often the server wants that, the daemon hears it once until it does.
    fn call(&self, daemon: &Sender<Wake>) {
        if !self.due.swap(true, Ordering::Relaxed) {
            // The daemon may be gone.
            let _ = daemon.send(Wake::CheckIn);
        }
    }

    /// The daemon checks in now: what the server says from here on is news.
    pub fn heed(&self) {
        self.due.store(false, Ordering::Relaxed);
    }

    /// Says what needs no answer; dropped when there is no stream, or it is behind.
    pub fn tell(&self, what: Said) {
        self.say(Saying { what, answer: None });
    }
}

/// Closes the line with the stream, however that ends.
struct Lifted<'a>(&'a Line);

impl<'a> Lifted<'a> {
    fn new(line: &'a Line) -> (Self, mpsc::Receiver<Saying>) {
        let (sayings, said) = mpsc::channel(SAID);
        *line.sayings() = Some(sayings);
        (Lifted(line), said)
    }
}

impl Drop for Lifted<'_> {
    fn drop(&mut self) {
        *self.0.sayings() = None;
    }
}

/// The one stream there is, if there is one.
#[derive(Default)]
pub struct StreamHandle {
    thread: Option<std::thread::JoinHandle<()>>,
    line: Arc<Line>,
    failures: Arc<AtomicU32>,
}

impl StreamHandle {
    /// Whether one is open, or about to be.
    pub fn is_open(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// What is said on it.
    pub fn line(&self) -> Arc<Line> {
        self.line.clone()
    }

    /// How many failed one after the other.
    pub fn failures(&self) -> Arc<AtomicU32> {
        self.failures.clone()
    }

    /// Opens one on a thread of its own.
    pub fn open(&mut self, parts: StreamParts) {
        let thread = std::thread::Builder::new().name("stream".to_owned()).stack_size(1 << 20);
        match thread.spawn(move || run(&parts)) {
            Ok(handle) => self.thread = Some(handle),
            Err(error) => tracing::error!("no thread for the stream: {error}"),
        }
    }

    /// Waits for its end, after a stop was asked for.
    pub fn join(self) {
        self.line.wake.notify_one();
        if let Some(thread) = self.thread {
            // It has nothing to say any more.
            let _ = thread.join();
        }
    }
}

fn run(parts: &StreamParts) {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!("stream: {error}"),
    };
    match runtime.block_on(converse(parts)) {
        Ok(()) => tracing::debug!("stream closed"),
        Err(error) => {
            if parts.stop.load(Ordering::Relaxed) {
                return;
            }
            tracing::info!("stream: {error}");
            // What was not delivered goes with the next one. The check-in comes first: it renews trust in the
            // server's key and says whether a stream is wanted at all. Not all agents at the same moment, and one whose
            // streams keep failing less and less often: it checks in at its interval all the same.
            let failures = parts.failures.fetch_add(1, Ordering::Relaxed);
            let wait = back_off(failures.saturating_add(2));
            runtime.block_on(async {
                let until = Instant::now() + wait;
                while Instant::now() < until && !parts.stop.load(Ordering::Relaxed) {
                    tokio::time::sleep(GLANCE.min(wait)).await;
                }
            });
            parts.line.call(&parts.wake);
        }
    }
}

/// A stream that the server has taken.
struct Opened<'a> {
    outgoing: Outgoing,
    incoming: Incoming,
    signer: FrameSigner<'a>,
    key: TrustedKey,
    nonce: [u8; 16],
    heartbeat: Duration,
}

impl StreamParts {
    fn conversation(&self) -> Conversation<'_> {
        Conversation { identity: &self.identity, store: &self.store, clock: &*self.clock }
    }

    fn hello(&self, key: &TrustedKey, nonce: &[u8; 16]) -> Result<SignedRequest, CheckInError> {
        let hello = StreamHello {
            commands: self.tasks.commands_allowed().is_ok(),
            unreported: self.tasks.unreported(),
            epoch: self.store.marks()?.epoch,
        };
        let header = self.conversation().header(Some(key), nonce)?;
        Ok(request::sign(&self.identity.key, Rpc::Stream, &header, &hello.encode_to_vec()))
    }

    /// Opens a stream under the key that the last check-in pinned. A server that has another one states it; its
    /// statement is good for this stream only, and its orders sign our nonce, so it is a live key.
    async fn open(&self) -> Result<Opened<'_>, StreamError> {
        let signed_time = self.conversation().signed_time().map_err(CheckInError::from)?;
        let mut connected = self.carrier.connect(&Credential::new(&self.identity, signed_time)).await?;
        let record = self.store.current_key().map_err(CheckInError::from)?.ok_or(StreamError::StaleKey)?;
        let mut key = self.conversation().trust(&record).map_err(CheckInError::from)?;
        for _ in 0..2 {
            let mut nonce = [0; 16];
            getrandom::fill(&mut nonce).map_err(CheckInError::Random)?;
            let opening = self.hello(&key, &nonce)?;
            let signer = FrameSigner::new(&self.identity.key, &opening.header);
            let opening = SignedFrame { frame: Some(signed_frame::Frame::Opening(opening)) };
            let (outgoing, mut incoming) = connected.stream(opening).await?;
            let first = timeout(OPENING, incoming.message()).await.map_err(|_| StreamError::Silent)?;
            match first?.and_then(|frame| frame.what) {
                Some(What::Opened(opened)) => {
                    let heartbeat = Duration::from_millis(opened.heartbeat_ms.clamp(100, 300_000).into());
                    return Ok(Opened { outgoing, incoming, signer, key, nonce, heartbeat });
                }
                Some(What::StaleKey(statement)) => key = self.conversation().consider(statement)?.1,
                Some(_) => return Err(StreamError::Opening),
                None => return Err(StreamError::Closed),
            }
        }
        Err(StreamError::StaleKey)
    }
}

/// Until the process is to end.
async fn stopped(parts: &StreamParts) {
    while !parts.stop.load(Ordering::Relaxed) {
        tokio::select! {
            () = parts.line.wake.notified() => {}
            () = tokio::time::sleep(GLANCE) => {}
        }
    }
}

async fn converse(parts: &StreamParts) -> Result<(), StreamError> {
    // A server that swallows everything does not keep the agent from ending.
    let opened = tokio::select! {
        opened = parts.open() => opened?,
        () = stopped(parts) => return Ok(()),
    };
    let (lasts, began) = (opened.heartbeat * PATIENCE, Instant::now());
    let carried = carry(parts, opened).await;
    if carried.is_ok() || began.elapsed() >= lasts {
        parts.failures.store(0, Ordering::Relaxed);
    }
    carried
}

async fn carry(parts: &StreamParts, opened: Opened<'_>) -> Result<(), StreamError> {
    let Opened { outgoing, mut incoming, mut signer, key, nonce, heartbeat } = opened;
    tracing::debug!("stream open");
    let (_lifted, mut said) = Lifted::new(&parts.line);
    let mut asked: Option<Sender<What>> = None;
    let mut cursors = Cursors::default();
    let mut heard = Instant::now();
    let mut stopping = None;
    // Frames that answer the server go first, then what the daemon says, then results of tasks.
    let mut answer: Option<AgentFrame> = None;
    loop {
        if parts.stop.load(Ordering::Relaxed) {
            let until = *stopping.get_or_insert_with(|| Instant::now() + FAREWELL);
            if parts.tasks.unreported().is_empty() || Instant::now() > until {
                return Ok(());
            }
        }
        let (next, again) = if let Some(answer) = answer.take() {
            (Some(answer), None)
        } else if let Ok(saying) = said.try_recv() {
            asked = saying.answer.or(asked);
            (Some(AgentFrame { what: Some(saying.what) }), None)
        } else {
            parts.tasks.next_frame(&mut cursors)
        };
        let glance = if stopping.is_some() { GLANCE } else { IDLE };
        let mut pause = again.unwrap_or(glance).min(glance);
        if let Some(frame) = next {
            let frame = SignedFrame { frame: Some(signed_frame::Frame::Later(signer.sign(&frame))) };
            // A server that does not take our frames does not get more of them made.
            match timeout(heartbeat * PATIENCE, outgoing.send(frame)).await {
                Ok(true) => pause = Duration::ZERO,
                // What the server said last says why.
                Ok(false) => {
                    let last = incoming.message().await?;
                    return Err(last.map_or(StreamError::Closed, |_| StreamError::Silent));
                }
                Err(_) => return Err(StreamError::Silent),
            }
        }
        tokio::select! {
            biased;
            frame = incoming.message() => {
                heard = Instant::now();
                let Some(frame) = frame? else { return Err(StreamError::Closed) };
                match frame.what {
                    Some(What::Heartbeat(number)) => {
                        answer = Some(AgentFrame { what: Some(Said::Heartbeat(number)) });
                    }
                    Some(What::Task(envelope)) => order(parts, &key, &nonce, &envelope)?,
                    Some(What::Acknowledged(id)) => parts.tasks.acknowledged(&id),
                    Some(What::PolicyChanged(_)) => parts.line.call(&parts.wake),
                    Some(What::Cancel(id)) => parts.tasks.cancel(&id),
                    Some(reply @ (What::CheckedIn(_) | What::Reported(_))) => {
                        if let Some(asked) = asked.take() {
                            // Who asked may have given up waiting.
                            let _ = asked.send(reply);
                        }
                    }
                    Some(What::Release(_)) if !parts.tasks.busy() && asked.is_none() => return Ok(()),
                    // Between its word and ours something came up; it will release us again.
                    Some(What::Release(_)) => {}
                    Some(What::StaleKey(_)) => return Err(StreamError::StaleKey),
                    Some(What::Opened(_)) | None => {}
                }
            }
            () = parts.tasks.changed.notified() => {}
            () = parts.line.wake.notified() => {}
            () = sleep_until(heard + heartbeat * PATIENCE) => return Err(StreamError::Silent),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Takes an order that is in order; one that is not ends the stream, for then server and agent do not agree
/// on who they are.
fn order(parts: &StreamParts, key: &TrustedKey, nonce: &[u8], envelope: &[u8]) -> Result<(), StreamError> {
    let Identity { cluster_id, envoy_id, .. } = &parts.identity;
    let order = protocol::task::open(&key.key, envelope, cluster_id, envoy_id, nonce)?;
    if order.epoch != key.epoch {
        return Err(OrderError::Malformed.into());
    }
    parts.tasks.accept(order);
    Ok(())
}
