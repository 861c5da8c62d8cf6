//! The speaker itself: `vigo talk`.
//!
//! It gives up everything first, then does what the other end of its standard input asks, and ends with it. The network is
//! spoken to with the same code as by an agent in one process.

use super::confine::{Account, confine};
use super::frame::{self, Frame, Kind, Order, Word};
use super::{Failure, Introduction, ROOM_DOWN, ROOM_UP, signing};
use crate::server::{Client, Credential, NetError};
use crate::stream::Carrier;
use crate::text::bounded;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname, getsockopt};
use prost::Message;
use protocol::pb::{SignedFrame, SignedRequest};
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc as signatures;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedReceiver, unbounded_channel};

/// For all of a request: the name, the connection, the handshake, the answer.
const LIMIT: Duration = Duration::from_secs(50);
/// Names are looked up on threads; there is one server.
const THREADS: usize = 2;

/// As whom it is to run, and where it may connect to.
#[derive(Clone, Copy, Debug)]
pub struct TalkOptions {
    /// Its user.
    pub uid: u32,
    /// Its group, and no other.
    pub gid: u32,
    /// The port of the server.
    pub port: u16,
}

impl TalkOptions {
    /// As `vigo` reads them.
    pub(super) fn arguments(&self) -> Vec<String> {
        let TalkOptions { uid, gid, port } = self;
        ["talk".to_owned(), format!("--uid={uid}"), format!("--gid={gid}"), format!("--port={port}")].into()
    }
}

/// Why there is no speaker.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// Started by hand.
    #[error("`vigo talk` is a part of `vigo run`, which starts it by itself")]
    ByHand,
    /// Something that it has to give up was not to be given up; its other end was told.
    #[error("{0}")]
    Privileges(String),
    /// The system.
    #[error("cannot begin: {0}")]
    System(std::io::Error),
}

impl From<std::io::Error> for TalkError {
    fn from(error: std::io::Error) -> Self {
        TalkError::System(error)
    }
}

/// What is said to the other end, by whichever thread. When nobody listens any more, this process ends.
#[derive(Clone, Debug)]
pub(super) struct Words(Arc<Mutex<UnixStream>>);

impl Words {
    pub(super) fn say(&self, kind: Word, number: u32, body: &[u8]) {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if frame::write(&mut *socket, kind, number, body).is_err() {
            std::process::exit(0);
        }
    }

    fn failed(&self, number: u32, error: &NetError) {
        self.say(Word::Failed, number, &Failure::of(error).encode_to_vec());
    }

    /// For a process that cannot go on, whatever its other threads are about.
    fn last(&self, why: &str) {
        if let Ok(mut socket) = self.0.try_lock() {
            let why = bounded(why, super::MOST_TEXT).as_bytes();
            // It ends all the same.
            let _ = frame::write(&mut *socket, Word::Broken, 0, why);
        }
    }
}

/// Speaks with a server for the process at the other end of the standard input, until that ends; only an error returns.
///
/// # Errors
/// When it was not started by `vigo run`, or cannot give up its privileges.
pub fn talk(options: Option<&TalkOptions>) -> Result<std::convert::Infallible, TalkError> {
    let options = options.ok_or(TalkError::ByHand)?;
    let socket = inherited().ok_or(TalkError::ByHand)?;
    let words = Words(Arc::new(Mutex::new(socket.try_clone()?)));
    let account = Account { uid: options.uid, gid: options.gid };
    let confined = confine(account, options.port).map_err(|error| {
        let why = format!("it cannot give up its privileges: {error}");
        words.last(&why);
        TalkError::Privileges(why)
    })?;
    let dying = words.clone();
    std::panic::set_hook(Box::new(move |panic| {
        dying.last(&format!("a bug: {panic}"));
        std::process::exit(70);
    }));
    words.say(Word::Ready, 0, &confined.encode_to_vec());

    let (signed, signatures) = signatures::channel();
    if !signing::sign_elsewhere(words.clone(), signatures) {
        return Err(TalkError::System(std::io::Error::other("TLS is set up already")));
    }
    let (ordered, orders) = unbounded_channel();
    let there = words.clone();
    std::thread::Builder::new().name("orders".to_owned()).stack_size(256 << 10).spawn(move || {
        let mut socket = socket;
        // Its end is ours, and so is an order that makes no sense.
        while let Ok(frame) = frame::read::<Order>(&mut socket) {
            let gone = match frame.kind {
                Order::Signature => signed.send((frame.number, frame.body)).is_err(),
                Order::Ping => {
                    there.say(Word::Pong, 0, &[]);
                    false
                }
                _ => ordered.send(frame).is_err(),
            };
            if gone {
                break;
            }
        }
        std::process::exit(0);
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(THREADS)
        .thread_stack_size(512 << 10)
        .build()?;
    runtime.block_on(serve(orders, words));
    std::process::exit(0);
}

/// The socket that the standard input is, if whoever started this process is at its other end.
fn inherited() -> Option<UnixStream> {
    let stdin = std::io::stdin();
    let address: SockaddrStorage = getsockname(stdin.as_raw_fd()).ok()?;
    if address.family() != Some(AddressFamily::Unix) {
        return None;
    }
    let peer = getsockopt(&stdin, PeerCredentials).ok()?;
    if peer.pid() != nix::unistd::getppid().as_raw() {
        return None;
    }
    close_others();
    Some(UnixStream::from(stdin.as_fd().try_clone_to_owned().ok()?))
}

/// Nothing of ours is open yet; what is was left to whoever started this process by whoever started that.
fn close_others() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let others: Vec<i32> = open
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    for descriptor in others {
        // The directory that was just read is among them, and closed already.
        let _ = nix::unistd::close(descriptor);
    }
}

/// What is asked of the server one after the other.
enum Asked {
    Introduced(Box<Result<Client, NetError>>),
    Request(Frame<Order>),
}

/// A stream, from here.
struct Lane {
    frames: mpsc::Sender<SignedFrame>,
    room: Arc<Semaphore>,
    task: tokio::task::JoinHandle<()>,
}

async fn serve(mut orders: UnboundedReceiver<Frame<Order>>, words: Words) {
    let (ask, asked) = unbounded_channel();
    tokio::spawn(answer(asked, words.clone()));
    let mut credential: Option<Credential> = None;
    let mut lanes: HashMap<u32, Lane> = HashMap::new();
    while let Some(frame) = orders.recv().await {
        let number = frame.number;
        match frame.kind {
            Order::Introduce => {
                let Ok(introduction) = Introduction::decode(frame.body.as_slice()) else { return };
                let introduced = introduction.credential(number);
                // The task of the answers lives as long as this one.
                let _ = ask.send(Asked::Introduced(Box::new(Client::new(&introduced))));
                credential = Some(introduced);
            }
            Order::CheckIn | Order::Report | Order::Renew => {
                let _ = ask.send(Asked::Request(frame));
            }
            Order::Open => {
                let Ok(opening) = SignedFrame::decode(frame.body.as_slice()) else { return };
                let Some(credential) = credential.clone() else { return };
                let (frames, later) = mpsc::channel(ROOM_UP);
                let room = Arc::new(Semaphore::new(ROOM_DOWN));
                let task =
                    tokio::spawn(lane(number, credential, opening, later, room.clone(), words.clone()));
                lanes.insert(number, Lane { frames, room, task });
            }
            Order::Up => {
                let Ok(frame) = SignedFrame::decode(frame.body.as_slice()) else { return };
                if let Some(lane) = lanes.get(&number) {
                    // A stream that is over takes nothing more, and the other end has heard so.
                    let _ = lane.frames.try_send(frame);
                }
            }
            Order::Taken => {
                if let Some(lane) = lanes.get(&number) {
                    lane.room.add_permits(1);
                }
            }
            Order::Close => {
                if let Some(lane) = lanes.remove(&number) {
                    lane.task.abort();
                }
            }
            // Those were taken where they came in.
            Order::Signature | Order::Ping => {}
        }
    }
}

async fn answer(mut asked: UnboundedReceiver<Asked>, words: Words) {
    let mut client = None;
    while let Some(asked) = asked.recv().await {
        match asked {
            Asked::Introduced(introduced) => client = Some(*introduced),
            Asked::Request(frame) => {
                let server = match &client {
                    Some(Ok(client)) => client.server().to_owned(),
                    _ => String::new(),
                };
                let late = || NetError::Unreachable {
                    server,
                    why: format!("no answer within {}", crate::text::took(LIMIT)),
                };
                let asking = request(&mut client, &frame);
                match tokio::time::timeout(LIMIT, asking).await.unwrap_or_else(|_| Err(late())) {
                    Ok(body) if body.len() <= Word::Answer.limit() => {
                        words.say(Word::Answer, frame.number, &body);
                    }
                    Ok(_) => words.failed(
                        frame.number,
                        &NetError::Refused {
                            server: String::new(),
                            message: "its answer is too long".to_owned(),
                        },
                    ),
                    Err(error) => words.failed(frame.number, &error),
                }
            }
        }
    }
}

async fn request(
    client: &mut Option<Result<Client, NetError>>,
    frame: &Frame<Order>,
) -> Result<Vec<u8>, NetError> {
    let nonsense = |why: &str| NetError::Unreachable { server: String::new(), why: why.to_owned() };
    let client = match client {
        Some(Ok(client)) => client,
        Some(Err(error)) => {
            return Err(Failure::of(error).error("").unwrap_or_else(|| nonsense("no server")));
        }
        None => return Err(nonsense("no server is known")),
    };
    let request = SignedRequest::decode(frame.body.as_slice());
    let request = request.map_err(|_| nonsense("the request does not decode"))?;
    Ok(match frame.kind {
        Order::CheckIn => client.check_in(request).await?.encode_to_vec(),
        Order::Report => client.report(request).await?.encode_to_vec(),
        _ => client.renew(request).await?.encode_to_vec(),
    })
}

async fn lane(
    number: u32,
    credential: Credential,
    opening: SignedFrame,
    frames: mpsc::Receiver<SignedFrame>,
    room: Arc<Semaphore>,
    words: Words,
) {
    let ended = carry(number, &credential, opening, frames, &room, &words).await;
    let failure = ended.err().map(|error| Failure::of(&error).encode_to_vec());
    words.say(Word::Ended, number, &failure.unwrap_or_default());
}

/// Both ways at once: a server that does not take may still have to say why.
async fn carry(
    number: u32,
    credential: &Credential,
    opening: SignedFrame,
    mut frames: mpsc::Receiver<SignedFrame>,
    room: &Semaphore,
    words: &Words,
) -> Result<(), NetError> {
    let mut connected = Carrier::Own.connect(credential).await?;
    let (outgoing, mut incoming) = connected.stream(opening).await?;
    let up = async {
        while let Some(frame) = frames.recv().await {
            if !outgoing.send(frame).await {
                // Why is heard from the other direction.
                std::future::pending::<()>().await;
            }
            words.say(Word::Taken, number, &[]);
        }
    };
    let down = async {
        while let Some(frame) = incoming.message().await? {
            let Ok(permit) = room.acquire().await else { break };
            permit.forget();
            words.say(Word::Down, number, &frame.encode_to_vec());
        }
        Ok(())
    };
    tokio::select! {
        () = up => Ok(()),
        ended = down => ended,
    }
}
