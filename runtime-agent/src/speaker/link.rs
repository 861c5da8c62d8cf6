//! This process's end of the socket pair. Nothing that comes from the other end is believed: what makes no sense ends the
//! conversation, and the speaker with it.

use super::confine::Confined;
use super::frame::{self, Frame, FrameError, Kind, Order, Word};
use super::{Failure, Introduction, ROOM_DOWN, ROOM_UP, outline, signing};
use crate::clock::Millis;
use crate::identity::Identity;
use crate::server::NetError;
use crate::text::{printable, took};
use ed25519_dalek::SigningKey;
use prost::Message;
use protocol::pb::{ServerFrame, SignedFrame, SignedRequest};
use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::sync::mpsc as lanes;

/// Until the speaker has given up its privileges.
const START: Duration = Duration::from_secs(10);
/// Until the first one has, however often it takes.
const FIRST: Duration = Duration::from_secs(30);
/// For the answer of a server, which the speaker waits for less long itself.
const ANSWER: Duration = Duration::from_secs(60);
/// After so long without a word, one that owes something is asked whether it is there, and has as long to say so.
const SILENCE: Duration = Duration::from_secs(8);
/// For a speaker to take a frame, all of it.
const TAKE: Duration = Duration::from_secs(10);
/// How often the clock is looked at meanwhile.
const GLANCE: Duration = Duration::from_secs(1);
/// What is written between two looks at the clock.
const PIECE: usize = 16 << 10;

/// Writes until a moment. A limit of the socket alone begins anew with every buffer, so whoever takes one now and then would have
/// the writer wait for hours.
struct Until<'a> {
    socket: &'a UnixStream,
    end: Instant,
}

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        while Instant::now() < self.end {
            match self.socket.write(piece) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                written => return written,
            }
        }
        Err(ErrorKind::TimedOut.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One conversation with one speaker.
pub(super) struct Live {
    socket: UnixStream,
    writer: Mutex<UnixStream>,
    /// Why it is over, as whoever ended it saw it.
    why: Mutex<Option<String>>,
}

impl Live {
    fn new(socket: UnixStream) -> std::io::Result<Self> {
        let writer = socket.try_clone()?;
        writer.set_write_timeout(Some(GLANCE))?;
        Ok(Live { socket, writer: Mutex::new(writer), why: Mutex::default() })
    }

    /// Whether it was given to the speaker. When not, the conversation is over.
    fn say(&self, kind: Order, number: u32, body: &[u8]) -> bool {
        let writer = locked(&self.writer);
        let mut until = Until { socket: &writer, end: Instant::now() + TAKE };
        match frame::write(&mut until, kind, number, body) {
            Ok(()) => true,
            Err(error) => {
                self.end(&format!("it does not take what it is given: {error}"));
                false
            }
        }
    }

    /// The first reason counts.
    fn end(&self, why: &str) {
        locked(&self.why).get_or_insert_with(|| why.to_owned());
        // It may be closed already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

#[derive(Clone)]
enum Phase {
    /// It is on its way.
    Starting,
    /// It is there.
    Live(Arc<Live>),
    /// The next one is started later.
    Resting { until: Instant, why: String },
    /// There will be no other.
    Closed,
}

/// The end of a stream.
struct Lane {
    frames: lanes::Sender<Result<Vec<u8>, NetError>>,
    room: Arc<Semaphore>,
}

struct State {
    phase: Phase,
    introduction: Introduction,
    /// That of the key and of the introduction.
    number: u32,
    key: SigningKey,
    /// Numbers below were given to requests and streams.
    next: u32,
    asked: HashMap<u32, mpsc::Sender<Result<Vec<u8>, NetError>>>,
    streams: HashMap<u32, Lane>,
    /// With whom there is a conversation, or the beginning of one.
    current: Option<Arc<Live>>,
    /// What the speaker that is there is kept from.
    confined: Option<Confined>,
    /// Why no speaker ever was there.
    never: Option<String>,
}

struct Shared {
    server: String,
    state: Mutex<State>,
    turned: Condvar,
}

/// This process's end; see the module.
#[derive(Clone)]
pub struct Link(Arc<Shared>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(super) fn new(identity: &Identity, signed_time: Millis) -> Self {
        Link(Arc::new(Shared {
            server: identity.server.clone(),
            state: Mutex::new(State {
                phase: Phase::Starting,
                introduction: Introduction::of(identity, signed_time),
                number: 1,
                key: identity.key.clone(),
                next: 1,
                asked: HashMap::new(),
                streams: HashMap::new(),
                current: None,
                confined: None,
                never: None,
            }),
            turned: Condvar::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.0.state)
    }

    fn turn(&self, phase: Phase) {
        let mut state = self.state();
        if !matches!(state.phase, Phase::Closed) {
            state.phase = phase;
        }
        self.0.turned.notify_all();
    }

    fn unreachable(&self, why: impl Into<String>) -> NetError {
        NetError::Unreachable { server: self.0.server.clone(), why: why.into() }
    }

    /// Whoever waits for something of a speaker that is gone hears so.
    fn lost(&self) -> NetError {
        self.unreachable("the process that speaks with the server ended")
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state().phase, Phase::Closed)
    }

    pub(super) fn starting(&self) {
        self.turn(Phase::Starting);
    }

    /// There is none, and there never was one if none was there before.
    pub(super) fn missing(&self, why: &str) {
        let mut state = self.state();
        if state.confined.is_none() {
            state.never.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Waits until the next one is due, or nobody wants one any more.
    pub(super) fn rest(&self, pause: Duration, why: &str) {
        let until = Instant::now() + pause;
        self.turn(Phase::Resting { until, why: why.to_owned() });
        let mut state = self.state();
        while let Some(left) = until.checked_duration_since(Instant::now())
            && !matches!(state.phase, Phase::Closed)
        {
            state = self.0.turned.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything that the speaker at the other end says, until it says nothing more; why.
    pub(super) fn converse(&self, socket: UnixStream) -> String {
        self.listen(socket).unwrap_or_else(|why| why)
    }

    fn listen(&self, mut socket: UnixStream) -> Result<String, String> {
        let told = |e: std::io::Error| e.to_string();
        let live = Arc::new(Live::new(socket.try_clone().map_err(told)?).map_err(told)?);
        {
            let mut state = self.state();
            // Whoever closes this from here on ends the conversation as well.
            if matches!(state.phase, Phase::Closed) {
                return Ok(String::new());
            }
            state.current = Some(live.clone());
        }
        let why = match self.begin(&live, &mut socket) {
            Ok(()) => self.hear(&live, &mut socket),
            Err(why) => why,
        };
        live.end(&why);
        self.forget();
        Ok(locked(&live.why).take().unwrap_or_default())
    }

    /// Until it makes no sense any more, or is not there: one that was stopped owes its answers for ever.
    fn hear(&self, live: &Live, socket: &mut UnixStream) -> String {
        let mut pinged = false;
        loop {
            match frame::read(socket) {
                Ok(frame) => {
                    pinged = false;
                    if let Err(why) = self.take(live, frame) {
                        return why;
                    }
                }
                Err(FrameError::Idle) if !self.is_owed() => pinged = false,
                Err(FrameError::Idle) if pinged => return "it does not answer".to_owned(),
                Err(FrameError::Idle) => {
                    pinged = true;
                    live.say(Order::Ping, 0, &[]);
                }
                Err(error) => return error.to_string(),
            }
        }
    }

    /// Whether somebody waits for something.
    fn is_owed(&self) -> bool {
        let state = self.state();
        !state.asked.is_empty() || !state.streams.is_empty()
    }

    /// It has to say first that it has given up its privileges.
    fn begin(&self, live: &Arc<Live>, socket: &mut UnixStream) -> Result<(), String> {
        let told = |e: std::io::Error| e.to_string();
        socket.set_read_timeout(Some(START)).map_err(told)?;
        let first: Frame<Word> = frame::read(socket).map_err(|e| match e {
            FrameError::Idle => "it does not begin".to_owned(),
            other => other.to_string(),
        })?;
        let confined = match first.kind {
            Word::Ready => Confined::decode(first.body.as_slice()).map_err(|_| "it begins with nonsense")?,
            Word::Broken => {
                let why = printable(&String::from_utf8_lossy(&first.body));
                self.missing(&why);
                return Err(why);
            }
            _ => return Err("it does not begin as it should".to_owned()),
        };
        socket.set_read_timeout(Some(SILENCE)).map_err(told)?;
        // Held meanwhile: another introduction comes after this one.
        let mut state = self.state();
        // It can be had without rights here, even if this one does not last.
        state.confined = Some(confined);
        if !live.say(Order::Introduce, state.number, &state.introduction.encode_to_vec()) {
            return Err("it does not take its introduction".to_owned());
        }
        if !matches!(state.phase, Phase::Closed) {
            state.phase = Phase::Live(live.clone());
        }
        self.0.turned.notify_all();
        Ok(())
    }

    /// Nobody is going to answer.
    fn forget(&self) {
        let mut state = self.state();
        state.asked.clear();
        for (_, lane) in state.streams.drain() {
            lane.room.close();
            // If there is no room for it the stream ends without a reason.
            let _ = lane.frames.try_send(Err(self.lost()));
        }
        state.current = None;
        if matches!(state.phase, Phase::Live(_)) {
            state.phase = Phase::Starting;
        }
    }

    fn failure(&self, body: &[u8]) -> Result<NetError, String> {
        let failure = Failure::decode(body).map_err(|_| "an error does not decode")?;
        failure.error(&self.0.server).ok_or_else(|| "an error is none of ours".to_owned())
    }

    fn take(&self, live: &Live, frame: Frame<Word>) -> Result<(), String> {
        let Frame { kind, number, body } = frame;
        match kind {
            Word::Answer | Word::Failed => {
                let answer = if kind == Word::Answer { Ok(body) } else { Err(self.failure(&body)?) };
                let mut state = self.state();
                match state.asked.remove(&number) {
                    // Who asked may have given up.
                    Some(asker) => drop(asker.send(answer)),
                    None if number < state.next => {}
                    None => return Err("it answers what was not asked".to_owned()),
                }
            }
            Word::Down | Word::Taken | Word::Ended => {
                let ended = match (kind, body.is_empty()) {
                    (Word::Ended, false) => Some(self.failure(&body)?),
                    _ => None,
                };
                let mut state = self.state();
                let Some(lane) = state.streams.get(&number) else {
                    // One that was closed here may have been under way there.
                    let known = number < state.next;
                    return known.then_some(()).ok_or_else(|| "it speaks of no stream".to_owned());
                };
                match kind {
                    Word::Down => match lane.frames.try_send(Ok(body)) {
                        Ok(()) | Err(lanes::error::TrySendError::Closed(_)) => {}
                        Err(lanes::error::TrySendError::Full(_)) => {
                            return Err("it sends more than there is room for".to_owned());
                        }
                    },
                    Word::Taken if lane.room.available_permits() < ROOM_UP => lane.room.add_permits(1),
                    Word::Taken => return Err("it takes more than it was sent".to_owned()),
                    _ => {
                        lane.room.close();
                        if let Some(error) = ended {
                            // If there is no room for it the stream ends without a reason.
                            let _ = lane.frames.try_send(Err(error));
                        }
                        state.streams.remove(&number);
                    }
                }
            }
            Word::Sign => {
                if !signing::is_handshake(&body) {
                    return Err("it wants a signature under what is no handshake".to_owned());
                }
                let state = self.state();
                // A handshake that began under the certificate before does not end.
                let key = (state.number == number).then(|| state.key.clone());
                drop(state);
                let signature = key.and_then(|key| signing::sign(&key, &body));
                let signature = signature.as_ref().map(|s| s.as_slice()).unwrap_or_default();
                if !live.say(Order::Signature, number, signature) {
                    return Err("it does not take a signature".to_owned());
                }
            }
            Word::Pong => {}
            Word::Broken => return Err(printable(&String::from_utf8_lossy(&body))),
            Word::Ready => return Err("it begins twice".to_owned()),
        }
        Ok(())
    }

    /// The speaker that is there; waits for one that is about to be.
    fn live(&self) -> Result<Arc<Live>, NetError> {
        let until = Instant::now() + START;
        let mut state = self.state();
        loop {
            match &state.phase {
                Phase::Live(live) => return Ok(live.clone()),
                Phase::Resting { until, why } => {
                    let left = until.saturating_duration_since(Instant::now());
                    return Err(self.unreachable(format!(
                        "the process that speaks with the server ended ({why}); the next one is started in {}",
                        took(left)
                    )));
                }
                Phase::Closed => return Err(self.lost()),
                Phase::Starting => {
                    let Some(left) = until.checked_duration_since(Instant::now()) else {
                        return Err(
                            self.unreachable("the process that speaks with the server does not begin")
                        );
                    };
                    state = self.0.turned.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Asks, and waits.
    pub(super) fn ask<T: Message + Default>(
        &self,
        kind: Order,
        request: &SignedRequest,
    ) -> Result<T, NetError> {
        if request.encoded_len() > kind.limit() {
            let message = "a message of this host is too long to be sent".to_owned();
            return Err(NetError::Refused { server: self.0.server.clone(), message });
        }
        let live = self.live()?;
        let (asker, answer) = mpsc::channel();
        let number = {
            let mut state = self.state();
            let number = state.next;
            state.next = number.wrapping_add(1).max(1);
            state.asked.insert(number, asker);
            number
        };
        let said = live.say(kind, number, &request.encode_to_vec());
        let answer = if said { answer.recv_timeout(ANSWER) } else { Err(RecvTimeoutError::Disconnected) };
        self.state().asked.remove(&number);
        match answer {
            Ok(Ok(body)) if kind == Order::CheckIn && !outline::reply_fits(&body) => {
                live.end("an answer does not decode, or has too many parts");
                Err(self.unreachable("the process that speaks with the server answered with nonsense"))
            }
            Ok(Ok(body)) => T::decode(body.as_slice()).map_err(|_| {
                live.end("an answer does not decode");
                self.unreachable("the process that speaks with the server answered with nonsense")
            }),
            Ok(Err(error)) => Err(error),
            Err(RecvTimeoutError::Timeout) => {
                live.end("it does not answer");
                Err(self.unreachable("the process that speaks with the server does not answer"))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.lost()),
        }
    }

    /// Opens a stream; whether the server takes it is what comes first on it.
    pub(crate) fn stream(&self, opening: &SignedFrame) -> Result<(LinkOut, LinkIn), NetError> {
        let live = match &self.state().phase {
            Phase::Live(live) => live.clone(),
            _ => return Err(self.lost()),
        };
        // One more than there is room for: the reason of the end.
        let (sender, frames) = lanes::channel(ROOM_DOWN + 1);
        let room = Arc::new(Semaphore::new(ROOM_UP));
        let number = {
            let mut state = self.state();
            let number = state.next;
            state.next = number.wrapping_add(1).max(1);
            state.streams.insert(number, Lane { frames: sender, room: room.clone() });
            number
        };
        if !live.say(Order::Open, number, &opening.encode_to_vec()) {
            self.state().streams.remove(&number);
            return Err(self.lost());
        }
        Ok((
            LinkOut { live: live.clone(), number, room },
            LinkIn { link: self.clone(), live, number, frames },
        ))
    }

    /// Speaks with another certificate from now on.
    pub(super) fn adopt(&self, identity: &Identity, signed_time: Millis) {
        let mut state = self.state();
        state.number = state.number.wrapping_add(1);
        state.key = identity.key.clone();
        state.introduction = Introduction::of(identity, signed_time);
        if let Phase::Live(live) = &state.phase {
            live.say(Order::Introduce, state.number, &state.introduction.encode_to_vec());
        }
    }

    pub(super) fn close(&self) {
        let mut state = self.state();
        if let Some(live) = &state.current {
            live.end("it is not needed any more");
        }
        state.phase = Phase::Closed;
        self.0.turned.notify_all();
    }

    /// What the first speaker is kept from; why there is none.
    pub(super) fn first(&self) -> Result<Confined, String> {
        let until = Instant::now() + FIRST;
        let mut state = self.state();
        loop {
            if let Some(confined) = &state.confined {
                return Ok(confined.clone());
            }
            if let Some(why) = &state.never {
                return Err(why.clone());
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                return Err("the process for it does not begin".to_owned());
            };
            state = self.0.turned.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What is said on a stream.
pub(crate) struct LinkOut {
    live: Arc<Live>,
    number: u32,
    room: Arc<Semaphore>,
}

impl LinkOut {
    /// Waits while too much is under way; `false` when the stream is over.
    pub(crate) async fn send(&self, frame: &SignedFrame) -> bool {
        let Ok(permit) = self.room.acquire().await else { return false };
        permit.forget();
        self.live.say(Order::Up, self.number, &frame.encode_to_vec())
    }
}

/// What is heard on a stream; closes it when nobody listens any more.
pub(crate) struct LinkIn {
    link: Link,
    live: Arc<Live>,
    number: u32,
    frames: lanes::Receiver<Result<Vec<u8>, NetError>>,
}

impl LinkIn {
    /// The next one; `None` at the end. Nothing is lost when it is not waited for to the end.
    pub(crate) async fn message(&mut self) -> Result<Option<ServerFrame>, NetError> {
        let Some(body) = self.frames.recv().await else { return Ok(None) };
        let body = body?;
        self.live.say(Order::Taken, self.number, &[]);
        let frame = outline::frame_fits(&body).then(|| ServerFrame::decode(body.as_slice()).ok()).flatten();
        frame.map(Some).ok_or_else(|| {
            self.live.end("a frame of a stream does not decode, or has too many parts");
            self.link.lost()
        })
    }
}

impl Drop for LinkIn {
    fn drop(&mut self) {
        self.link.state().streams.remove(&self.number);
        self.live.say(Order::Close, self.number, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// Whoever takes a little now and then is as good as one that takes nothing.
    #[test]
    fn a_frame_is_taken_in_time_or_not_at_all() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let (stop, stopped) = mpsc::channel::<()>();
        let taker = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while stopped.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
                theirs.read_exact(&mut buffer).unwrap();
            }
        });
        let body = vec![0; protocol::MAX_MESSAGE_BYTES];
        let mut until = Until { socket: &ours, end: Instant::now() + Duration::from_millis(300) };
        let error = frame::write(&mut until, Order::Report, 1, &body).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop((stop, ours));
        taker.join().unwrap();
    }
}
