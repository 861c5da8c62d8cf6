//! A speaker in the hands of somebody else: what it can make of the process that started it.

use super::frame::{self, Frame, Kind, Order, Word};
use super::keeper::Launch;
use super::link::Link;
use super::split::Split;
use super::*;
use crate::identity::{pem, pkcs8};
use ed25519_dalek::SigningKey;
use prost::Message;
use protocol::pb::{SignedFrame, server_frame};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

fn identity() -> Identity {
    let key = SigningKey::from_bytes(&[3; 32]);
    let pair = rcgen::KeyPair::from_pem(&pem("PRIVATE KEY", &pkcs8(&key))).unwrap();
    let certificate_pem = rcgen::CertificateParams::default().self_signed(&pair).unwrap().pem();
    Identity {
        envoy_id: "e".into(),
        cluster_id: "c".into(),
        hostname: "h".into(),
        server: "127.0.0.1:1530".into(),
        enrolled_at: 1,
        ca_pem: certificate_pem.clone(),
        certificate_pem,
        key,
        seal_key: Zeroizing::new([4; 32]),
    }
}

fn say(socket: &UnixStream, kind: Word, number: u32, body: &[u8]) {
    // The other side may have had enough.
    let _ = frame::write(&mut &*socket, kind, number, body);
}

fn ready(socket: &UnixStream) {
    say(socket, Word::Ready, 0, &[]);
    let introduced: Frame<Order> = frame::read(&mut &*socket).unwrap();
    assert_eq!((introduced.kind, introduced.number), (Order::Introduce, 1));
    let introduction = Introduction::decode(introduced.body.as_slice()).unwrap();
    assert_eq!((introduction.server.as_str(), introduction.signed_time), ("127.0.0.1:1530", 7));
    let key = pkcs8(&identity().key);
    assert!(!introduced.body.windows(16).any(|part| key.windows(16).any(|k| k == part)), "no part of a key");
}

/// A link with somebody at its other end; what it says of how that ended.
fn against(speaker: impl FnOnce(UnixStream) + Send + 'static) -> (Link, thread::JoinHandle<String>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let link = Link::new(&identity(), 7);
    let kept = link.clone();
    thread::spawn(move || speaker(theirs));
    (link, thread::spawn(move || kept.converse(ours)))
}

fn request() -> SignedRequest {
    SignedRequest { header: vec![1], payload: vec![2], signature: vec![3] }
}

fn unreachable<T: std::fmt::Debug>(result: Result<T, NetError>) -> String {
    let error = result.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    error.to_string()
}

#[test]
fn an_answer_comes_back_and_so_does_an_error() {
    let (link, ended) = against(|socket| {
        ready(&socket);
        let asked: Frame<Order> = frame::read(&mut &socket).unwrap();
        assert_eq!(
            (asked.kind, SignedRequest::decode(asked.body.as_slice()).unwrap()),
            (Order::CheckIn, request())
        );
        let reply = CheckInReply { next_check_in: 7, ..CheckInReply::default() };
        say(&socket, Word::Answer, asked.number, &reply.encode_to_vec());
        let asked: Frame<Order> = frame::read(&mut &socket).unwrap();
        assert_eq!(asked.kind, Order::Report);
        let error = NetError::Refused { server: "elsewhere".into(), message: "no \u{1b}[2J".into() };
        say(&socket, Word::Failed, asked.number, &Failure::of(&error).encode_to_vec());
        let error = frame::read::<Order>(&mut &socket).unwrap_err();
        assert!(matches!(error, frame::FrameError::Ended), "{error}");
    });
    let reply: CheckInReply = link.ask(Order::CheckIn, &request()).unwrap();
    assert_eq!(reply.next_check_in, 7);
    let error = link.ask::<ReportReply>(Order::Report, &request()).unwrap_err();
    assert_eq!(error.to_string(), "127.0.0.1:1530 refused the request: no \\u{1b}[2J");
    let long = SignedRequest { payload: vec![0; protocol::MAX_MESSAGE_BYTES], ..request() };
    let error = link.ask::<ReportReply>(Order::Report, &long).unwrap_err().to_string();
    assert!(error.contains("too long to be sent"), "{error}");
    link.close();
    ended.join().unwrap();
}

/// Whatever it says that makes no sense ends it, and whoever waits for an answer hears so.
#[test]
fn nonsense_ends_the_conversation_and_never_this_process() {
    type Speaker = fn(&UnixStream);
    let cases: &[(&str, Speaker)] = &[
        ("unknown kind", |s| drop((&mut &*s).write_all(&[255; 100]))),
        ("announces", |s| drop((&mut &*s).write_all(&[2, 0, 0, 0, 1, 255, 255, 255, 255]))),
        ("cut off", |s| {
            (&mut &*s).write_all(&[2, 0, 0, 0, 1, 0, 0, 1, 0, 7]).unwrap();
            s.shutdown(std::net::Shutdown::Write).unwrap();
        }),
        ("begins twice", |s| say(s, Word::Ready, 0, &[])),
        ("was not asked", |s| say(s, Word::Answer, 900, &[])),
        ("speaks of no stream", |s| say(s, Word::Down, 900, &[])),
        ("speaks of no stream", |s| say(s, Word::Taken, 900, &[])),
        ("error does not decode", |s| say(s, Word::Failed, 1, &[255, 255])),
        ("is none of ours", |s| {
            say(s, Word::Failed, 1, &Failure { kind: 9, ..Failure::default() }.encode_to_vec())
        }),
        ("an answer does not decode", |s| say(s, Word::Answer, 1, &[255; 9])),
        ("what is no handshake", |s| say(s, Word::Sign, 1, b"vigo/request/v1\0")),
        ("what is no handshake", |s| say(s, Word::Sign, 1, &[])),
        ("too many parts", |s| {
            say(
                s,
                Word::Answer,
                1,
                &[[0x12, 0x80, 0x89, 0x7a].as_slice(), &[0x22, 0].repeat(1_000_000)].concat(),
            )
        }),
        ("I was hit", |s| say(s, Word::Broken, 0, b"I was hit")),
    ];
    for (expected, speaker) in cases {
        let speaker = *speaker;
        let (link, ended) = against(move |socket| {
            ready(&socket);
            let _: Frame<Order> = frame::read(&mut &socket).unwrap();
            speaker(&socket);
            while frame::read::<Order>(&mut &socket).is_ok() {}
        });
        unreachable(link.ask::<CheckInReply>(Order::CheckIn, &request()));
        let why = ended.join().unwrap();
        assert!(why.contains(expected), "{expected}: {why}");
    }
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![2, 0, 0, 0, 0, 0, 0, 0, 0], Vec::new()] {
        let (_link, ended) = against(move |mut socket| drop(socket.write_all(&bytes)));
        assert!(!ended.join().unwrap().is_empty());
    }
}

#[test]
fn it_gets_no_signature_but_that_of_a_handshake() {
    let proof = [[b' '; 64].as_slice(), b"TLS 1.3, client CertificateVerify\0", &[9; 32]].concat();
    let (told, heard) = std::sync::mpsc::channel();
    let asked = proof.clone();
    let (link, ended) = against(move |socket| {
        ready(&socket);
        let sign = |number, message: &[u8]| {
            say(&socket, Word::Sign, number, message);
            let signed: Frame<Order> = frame::read(&mut &socket).unwrap();
            assert_eq!((signed.kind, signed.number), (Order::Signature, number));
            signed.body
        };
        told.send([sign(1, &asked), sign(2, &asked)]).unwrap();
        say(&socket, Word::Sign, 1, &asked[1..]);
        assert!(frame::read::<Order>(&mut &socket).is_err(), "that was the end");
    });
    let [proven, other_key] = heard.recv().unwrap();
    let key = identity().key.verifying_key();
    key.verify_strict(&proof, &ed25519_dalek::Signature::from_slice(&proven).unwrap()).unwrap();
    assert!(other_key.is_empty());
    assert_eq!(ended.join().unwrap(), "it wants a signature under what is no handshake");
    drop(link);
}

#[tokio::test]
async fn a_stream_goes_both_ways_and_takes_no_more_than_there_is_room_for() {
    let frame = |number| ServerFrame { what: Some(server_frame::What::Heartbeat(number)) };
    use protocol::pb::ServerFrame;
    let (link, ended) = against(move |socket| {
        ready(&socket);
        let open: Frame<Order> = frame::read(&mut &socket).unwrap();
        assert_eq!(open.kind, Order::Open);
        say(&socket, Word::Down, open.number, &frame(1).encode_to_vec());
        let up: Frame<Order> = frame::read(&mut &socket).unwrap();
        assert!(matches!(up.kind, Order::Up | Order::Taken), "{up:?}");
        let other: Frame<Order> = frame::read(&mut &socket).unwrap();
        assert_ne!(up.kind, other.kind);
        say(&socket, Word::Taken, open.number, &[]);
        let error = NetError::Unreachable { server: String::new(), why: "cut".into() };
        say(&socket, Word::Ended, open.number, &Failure::of(&error).encode_to_vec());
        let close: Frame<Order> = frame::read(&mut &socket).unwrap();
        assert_eq!((close.kind, close.number), (Order::Close, open.number));
        // A second one is flooded.
        let open: Frame<Order> = frame::read(&mut &socket).unwrap();
        for number in 0..100 {
            say(&socket, Word::Down, open.number, &frame(number).encode_to_vec());
        }
    });
    // It is there once it was introduced.
    let deadline = Instant::now() + Duration::from_secs(20);
    let (outgoing, mut incoming) = loop {
        match link.stream(&SignedFrame::default()) {
            Ok(both) => break both,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::yield_now();
    };
    assert_eq!(incoming.message().await.unwrap().unwrap().what, Some(server_frame::What::Heartbeat(1)));
    assert!(outgoing.send(&SignedFrame::default()).await);
    let error = incoming.message().await.unwrap_err().to_string();
    assert!(error.contains("cut"), "{error}");
    assert!(incoming.message().await.unwrap().is_none());
    assert!(!outgoing.send(&SignedFrame::default()).await, "it is over");
    drop(incoming);
    let (_outgoing, _incoming) = link.stream(&SignedFrame::default()).unwrap();
    assert_eq!(ended.join().unwrap(), "it sends more than there is room for");
}

fn script(text: &str) -> Launch {
    Launch { program: "/bin/sh".into(), arguments: vec!["-c".into(), text.into()] }
}

/// A speaker that is a script, with its socket as standard input.
pub(crate) fn scripted(text: &str, identity: &Identity) -> Split {
    Split::start(script(&format!("{READY}; {text}")), identity, 0).unwrap().0
}

/// A frame that begins a conversation, as `printf` writes it.
const READY: &str = r"printf '\001\000\000\000\000\000\000\000\000' >&0";

#[test]
fn one_that_ends_is_followed_by_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let count = dir.path().join("count");
    let text = format!("{READY}; echo x >> {}; exit 3", count.display());
    let (mut split, _) = Split::start(script(&text), &identity(), 0).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::fs::read_to_string(&count).unwrap_or_default().lines().count() < 3 {
        assert!(Instant::now() < deadline, "it is not started again");
        thread::sleep(Duration::from_millis(50));
    }
    let why = unreachable(split.check_in(request()));
    assert!(why.contains("the process that speaks with the server"), "{why}");
}

#[test]
fn one_that_cannot_give_up_its_privileges_is_none() {
    let text = r"printf '\010\000\000\000\000\000\000\000\002no' >&0; sleep 60";
    assert_eq!(Split::start(script(text), &identity(), 0).err().unwrap(), "no");
    let missing = Launch { program: "/no/such/program".into(), arguments: Vec::new() };
    let why = Split::start(missing, &identity(), 0).err().unwrap();
    assert!(why.contains("cannot be started: No such file"), "{why}");
}

#[test]
fn it_ends_with_what_started_it() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let text = format!("echo $$ > {p}.new; mv {p}.new {p}; {READY}; exec sleep 1000", p = pid.display());
    let (split, _) = Split::start(script(&text), &identity(), 0).unwrap();
    let process = format!("/proc/{}", std::fs::read_to_string(&pid).unwrap().trim());
    assert!(std::path::Path::new(&process).exists());
    drop(split);
    assert!(!std::path::Path::new(&process).exists());
}

/// As when the agent is stopped while a speaker is on its way.
#[test]
fn a_link_that_was_closed_listens_to_nobody() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let link = Link::new(&identity(), 7);
    link.close();
    assert_eq!(link.converse(ours), "");
}

#[test]
fn frames_have_limits_that_fit_what_is_sent() {
    assert!(Order::Introduce.limit() >= 64 << 10, "a chain of certificates");
    assert!(Word::Failed.limit() > MOST_TEXT * 2);
}

#[test]
fn an_error_is_the_same_behind_the_socket_pair() {
    let server = || "127.0.0.1:1530".to_owned();
    for error in [
        NetError::Unreachable { server: server(), why: "x".into() },
        NetError::NotTrusted { server: server(), why: "x".into() },
        NetError::Refused { server: server(), message: "x".into() },
        NetError::Address("x".into()),
        NetError::Skew { server: server(), server_time: 1_800_000_000_000 },
        NetError::TurnedAway { server: server(), message: "x".into() },
        NetError::OtherName { server: server(), why: "x".into() },
    ] {
        let back = Failure::of(&error).error(&server()).unwrap();
        assert_eq!(format!("{back:?}"), format!("{error:?}"));
    }
}
