//! What one connection, one envoy and all of them together may take.

use crate::harness::*;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use protocol::pb::check_in_reply::Answer;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// A limit that is short, and still longer than anything an honest agent of these tests waits for.
const SHORT: Duration = Duration::from_millis(1500);
/// What takes longer does not happen.
const PATIENCE: Duration = Duration::from_secs(20);

type Tls = TlsStream<TcpStream>;

fn client(cluster: &Cluster, identity: Option<(&str, &SigningKey)>) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(cluster.ca.as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        Some((pem, key)) => {
            let key = key.to_pkcs8_pem(Default::default()).unwrap();
            let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
            config
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
                .unwrap()
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols.push(b"h2".to_vec());
    Arc::new(config).into()
}

async fn dial(cluster: &Cluster, client: &TlsConnector) -> std::io::Result<Tls> {
    let stream = TcpStream::connect(cluster.server().address()).await?;
    client.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

async fn dial_as(cluster: &Cluster, agent: &Agent) -> Tls {
    let identity = Some((agent.reply.certificate_pem.as_str(), &agent.key));
    dial(cluster, &client(cluster, identity)).await.unwrap()
}

/// Reads until the server closes; what it said before.
async fn until_closed(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut said = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        // An abrupt end is an end.
        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
            said.extend_from_slice(&buffer[..n]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the server closes");
    said
}

/// Frames as (type, flags, payload).
fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
    let mut out = Vec::new();
    while let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = bytes {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        out.push((*kind, *flags, payload.to_vec()));
        bytes = rest;
    }
    out
}

async fn still_serves(cluster: &Cluster, agent: &mut Agent) {
    let answer = agent.check_in(cluster).await.unwrap();
    assert!(matches!(answer, Answer::NoChange(_) | Answer::Bundle(_)), "{answer:?}");
}

#[tokio::test]
async fn case_074_who_stalls_is_cut_off_and_nobody_else_notices() {
    let cluster = Cluster::with(|c| {
        (c.limits.handshake, c.limits.first_request, c.limits.idle) = (SHORT, SHORT, SHORT);
        (c.limits.request, c.limits.per_envoy) = (SHORT, 100);
    })
    .await;
    let mut honest = cluster.agent("honest").await;
    let staller = cluster.agent("staller").await;

    // Nothing at all; half a handshake.
    let mut silent = TcpStream::connect(cluster.server().address()).await.unwrap();
    let mut half = TcpStream::connect(cluster.server().address()).await.unwrap();
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    // A handshake and then nothing, and then only the preface.
    let mut mute = dial_as(&cluster, &staller).await;
    let mut preface = dial_as(&cluster, &staller).await;
    preface.write_all(PREFACE).await.unwrap();
    preface.write_all(EMPTY_SETTINGS).await.unwrap();
    // Headers, a byte at a time.
    let dripping = dial_as(&cluster, &staller).await;
    let (mut heard, mut drips) = tokio::io::split(dripping);
    let drip = tokio::spawn(async move {
        let headers = [&[0, 0x10, 0, 1, 0, 0, 0, 0, 1], [0; 4096].as_slice()].concat();
        drips.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await.unwrap();
        for byte in headers {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if drips.write_all(&[byte]).await.is_err() || drips.flush().await.is_err() {
                break;
            }
        }
    });
    // A request whose body never comes, on a connection that was in use before.
    let (mut send, connection) = h2::client::handshake(dial_as(&cluster, &staller).await).await.unwrap();
    let open = tokio::spawn(connection);
    let (answer, _body) = send.send_request(request(), false).unwrap();
    let late = tokio::time::timeout(PATIENCE, answer).await.expect("an answer").unwrap();
    assert_eq!(late.headers().get("grpc-status").unwrap(), "4", "{late:?}");

    still_serves(&cluster, &mut honest).await;
    until_closed(&mut silent).await;
    until_closed(&mut half).await;
    until_closed(&mut mute).await;
    until_closed(&mut preface).await;
    until_closed(&mut heard).await;
    drip.await.unwrap();
    // Idle after its request: closed, the client still holding it.
    let ended = tokio::time::timeout(PATIENCE, open).await.expect("the idle connection is closed");
    drop(ended);
    still_serves(&cluster, &mut honest).await;
    cluster.stop().await;
}

fn request() -> http::Request<()> {
    http::Request::post("https://localhost/vigo.v1.Fleet/CheckIn")
        .header("content-type", "application/grpc")
        .body(())
        .unwrap()
}

/// A connection that the server has let in: it has said hello in HTTP/2. Tries until there is a place.
async fn let_in(cluster: &Cluster, client: &TlsConnector) -> Tls {
    let tries = async {
        loop {
            let Ok(mut stream) = dial(cluster, client).await else { continue };
            let mut settings = [0; 9];
            if stream.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await.is_ok()
                && stream.read_exact(&mut settings).await.is_ok()
            {
                return stream;
            }
        }
    };
    tokio::time::timeout(PATIENCE, tries).await.expect("the server lets somebody in")
}

async fn answers_a_ping(stream: &mut Tls) {
    stream.write_all(&[&[0, 0, 8, 6, 0, 0, 0, 0, 0], b"abcdefgh".as_slice()].concat()).await.unwrap();
    let mut said = Vec::new();
    let pong = async {
        while !said.ends_with(b"abcdefgh") {
            let mut buffer = [0; 4096];
            let n = stream.read(&mut buffer).await.unwrap();
            assert_ne!(n, 0, "closed");
            said.extend_from_slice(&buffer[..n]);
        }
    };
    tokio::time::timeout(PATIENCE, pong).await.expect("an answer to a ping");
}

#[tokio::test]
async fn case_074_an_envoy_has_four_connections_and_the_newest_stay() {
    let cluster = Cluster::start().await;
    let (agent, mut other) = (cluster.agent("web-01").await, cluster.agent("web-02").await);
    let connector = client(&cluster, Some((agent.reply.certificate_pem.as_str(), &agent.key)));
    let mut open = Vec::new();
    for _ in 0..6 {
        open.push(let_in(&cluster, &connector).await);
    }
    let mut newest = open.split_off(2);
    for oldest in &mut open {
        until_closed(oldest).await;
    }
    for stream in &mut newest {
        answers_a_ping(stream).await;
    }
    still_serves(&cluster, &mut other).await;
    cluster.stop().await;
}

#[tokio::test]
async fn case_074_connections_in_all_and_of_strangers() {
    let cluster = Cluster::with(|c| (c.limits.connections, c.limits.strangers) = (Some(4), 2)).await;
    let mut agent = cluster.agent("web-01").await;
    let stranger = client(&cluster, None);
    let connector = client(&cluster, Some((agent.reply.certificate_pem.as_str(), &agent.key)));
    let two = [let_in(&cluster, &stranger).await, let_in(&cluster, &stranger).await];
    let mut third = dial(&cluster, &stranger).await.unwrap();
    assert!(until_closed(&mut third).await.is_empty(), "a third stranger gets no word");
    let own = [let_in(&cluster, &connector).await, let_in(&cluster, &connector).await];
    assert!(dial(&cluster, &connector).await.is_err(), "the fifth connection is refused");
    assert!(agent.check_in(&cluster).await.is_err());
    drop((own, two));
    let again = async {
        while agent.check_in(&cluster).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("places are free again");
    cluster.stop().await;
}

#[tokio::test]
async fn case_075_the_limits_of_http2_are_announced() {
    let cluster = Cluster::start().await;
    let agent = cluster.agent("web-01").await;
    let mut stream = dial_as(&cluster, &agent).await;
    stream.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    stream.read_exact(&mut payload).await.unwrap();
    let setting = |id: u16| {
        let found = payload.chunks(6).find(|s| u16::from_be_bytes([s[0], s[1]]) == id);
        found.map(|s| u32::from_be_bytes([s[2], s[3], s[4], s[5]]))
    };
    assert_eq!(setting(3), Some(100), "concurrent streams: {payload:?}");
    assert_eq!(setting(6), Some(16 << 10), "bytes of headers: {payload:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn case_075_rapid_reset_is_answered_with_goaway() {
    let cluster = Cluster::start().await;
    let (agent, mut honest) = (cluster.agent("web-01").await, cluster.agent("honest").await);
    let mut stream = dial_as(&cluster, &agent).await;
    let mut bytes = [PREFACE, EMPTY_SETTINGS].concat();
    for n in 0..200u32 {
        let id = (2 * n + 1).to_be_bytes();
        // POST https / with an authority of one letter, by the static table of HPACK.
        let block = [0x83, 0x87, 0x84, 0x41, 1, b'x'];
        bytes.extend([&[0, 0, block.len() as u8, 1, 4], id.as_slice(), &block].concat());
        bytes.extend([&[0, 0, 4, 3, 0], id.as_slice(), &8u32.to_be_bytes()].concat());
    }
    stream.write_all(&bytes).await.unwrap();
    let said = until_closed(&mut stream).await;
    let goaway = frames(&said).into_iter().find(|(kind, ..)| *kind == 7).expect("GOAWAY");
    assert_eq!(goaway.2[4..8], 11u32.to_be_bytes(), "enhance your calm");
    still_serves(&cluster, &mut honest).await;
    cluster.stop().await;
}

#[tokio::test]
async fn case_075_continuations_without_end_are_cut_off() {
    let cluster = Cluster::start().await;
    let (agent, mut honest) = (cluster.agent("web-01").await, cluster.agent("honest").await);
    let mut stream = dial_as(&cluster, &agent).await;
    stream.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await.unwrap();
    // Headers that do not end, and then more of them: literals that HPACK must not index.
    stream.write_all(&[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x83]).await.unwrap();
    let literal = [&[0x10, 1, b'a', 0x7f, 0x81, 0x1e], [b'b'; 4096].as_slice()].concat();
    let length = u32::try_from(literal.len()).unwrap().to_be_bytes();
    let frame = [&length[1..], &[9, 0, 0, 0, 0, 1], &literal].concat();
    let mut sent = 0;
    while sent < 16 << 20 && stream.write_all(&frame).await.is_ok() {
        sent += frame.len();
    }
    assert!(sent < 16 << 20, "the server took {sent} bytes of headers");
    still_serves(&cluster, &mut honest).await;
    cluster.stop().await;
}

#[tokio::test]
async fn case_068_a_length_that_nobody_has_memory_for() {
    let cluster = Cluster::start().await;
    let (agent, mut honest) = (cluster.agent("web-01").await, cluster.agent("honest").await);
    let (mut send, connection) = h2::client::handshake(dial_as(&cluster, &agent).await).await.unwrap();
    tokio::spawn(connection);
    // The prefix of gRPC promises 4 GiB; a field of protobuf 2 GiB, a number that does not end, a negative length.
    let promised: &[&[u8]] = &[
        &[0, 0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 0, 6, 0x0a, 0xff, 0xff, 0xff, 0xff, 0x07],
        &[0, 0, 0, 0, 12, 0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 0, 11, 0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    ];
    for bytes in promised {
        let (answer, mut body) = send.send_request(request(), false).unwrap();
        body.send_data(bytes.to_vec().into(), true).unwrap();
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("an answer").unwrap();
        let status = answer.headers().get("grpc-status").unwrap().to_str().unwrap();
        assert!(["11", "13", "3"].contains(&status), "{bytes:?}: {answer:?}");
    }
    still_serves(&cluster, &mut honest).await;
    cluster.stop().await;
}

/// gzip of so many zeros, more than a thousand times smaller: one literal, and then copies of 258 bytes.
pub fn bomb(unpacked: usize) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut bits, mut free) = (0u32, 0);
    let mut put = |value: u32, width: u32| {
        bits |= value << free;
        free += width;
        while free >= 8 {
            out.push(bits as u8);
            (bits, free) = (bits >> 8, free - 8);
        }
    };
    // The last block, with the fixed code; its words stand with their highest bit first.
    put(0b011, 3);
    put(0b0000_1100, 8);
    for _ in 0..unpacked / 258 {
        put(0b1010_0011, 8);
        put(0, 5);
    }
    put(0, 7);
    put(0, 8);
    out
}

/// What another program makes of it, however it likes the missing checksum.
fn unpacked(gzip: &[u8]) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bomb.gz");
    std::fs::write(&path, gzip).unwrap();
    let gunzip = std::process::Command::new("gzip").arg("-dc").arg(&path).output().unwrap();
    gunzip.stdout.len()
}

/// Memory of this process, in bytes: the server is in it.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn case_069_what_is_packed_is_not_unpacked() {
    let cluster = Cluster::start().await;
    let (agent, mut honest) = (cluster.agent("web-01").await, cluster.agent("honest").await);
    assert!(unpacked(&bomb(50 << 20)) > 49 << 20, "it is a bomb");
    // 2 GiB in less than the 16 MiB that a message may have.
    let packed = bomb(2 << 30);
    assert!(packed.len() < protocol::MAX_MESSAGE_BYTES, "{}", packed.len());
    let before = resident();
    let (mut send, connection) = h2::client::handshake(dial_as(&cluster, &agent).await).await.unwrap();
    tokio::spawn(connection);
    let prefixed =
        |flag: u8| [&[flag], (packed.len() as u32).to_be_bytes().as_slice(), packed.as_slice()].concat();
    for (encoding, flag, path) in [
        // Announced: refused before a byte of it is read. Not announced: the mark of the message is a lie.
        (Some("gzip"), 1, "/vigo.v1.Fleet/CheckIn"),
        (Some("zstd"), 1, "/vigo.v1.Fleet/CheckIn"),
        (None, 1, "/vigo.v1.Fleet/CheckIn"),
        (Some("gzip"), 1, "/vigo.v1.Fleet/ReportRun"),
        (Some("gzip"), 1, "/vigo.v1.Fleet/Stream"),
        (Some("gzip"), 1, "/vigo.v1.Enrolment/Enroll"),
        // Not marked: a message like any other, and none.
        (None, 0, "/vigo.v1.Fleet/CheckIn"),
    ] {
        let mut request = http::Request::post(format!("https://localhost{path}"));
        if let Some(encoding) = encoding {
            request = request.header("grpc-encoding", encoding);
        }
        let request = request.header("content-type", "application/grpc").body(()).unwrap();
        let (answer, mut body) = send.send_request(request, false).unwrap();
        // The server may have answered already, and reads no further then.
        let _ = body.send_data(prefixed(flag).into(), true);
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("an answer").unwrap();
        let status = match answer.headers().get("grpc-status") {
            Some(status) => status.to_str().unwrap().to_owned(),
            None => {
                let mut body = answer.into_body();
                let trailers = tokio::time::timeout(PATIENCE, body.trailers()).await.expect("an end");
                trailers.unwrap().unwrap()["grpc-status"].to_str().unwrap().to_owned()
            }
        };
        // Not implemented; not what was announced; not a message.
        let expected: &[&str] = match (encoding, flag) {
            (Some(_), _) => &["12"],
            (None, 1) => &["13"],
            _ => &["11", "13", "3"],
        };
        assert!(expected.contains(&status.as_str()), "{encoding:?} {flag} {path}: {status}");
    }
    // Tests beside this one take some, too; a bomb that went off would take 2 GiB.
    let grown = resident().saturating_sub(before);
    assert!(grown < 512 << 20, "{grown} bytes more");
    still_serves(&cluster, &mut honest).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_session_is_resumed_and_the_envoy_is_still_known_by_it() {
    let cluster = Cluster::start().await;
    let mut agent = cluster.agent("web-01").await;
    let identity = Some((agent.reply.certificate_pem.as_str(), &agent.key));
    let connector = client(&cluster, identity);
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let stream = dial(&cluster, &connector).await.unwrap();
        kinds.push(stream.get_ref().1.handshake_kind());
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let signed = prost::Message::encode_to_vec(&agent.signed(&cluster));
        let length = u32::try_from(signed.len()).unwrap().to_be_bytes();
        let (answer, mut body) = send.send_request(request(), false).unwrap();
        body.send_data([&[0], length.as_slice(), &signed].concat().into(), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.headers().get("grpc-status"), None, "{answer:?}");
        drop((send, body, answer));
        connection.abort();
    }
    assert_eq!(kinds, [Some(rustls::HandshakeKind::Full), Some(rustls::HandshakeKind::Resumed)]);
    cluster.stop().await;
}

#[tokio::test]
async fn case_068_a_stranger_is_answered_before_a_byte_of_its_message_is_read() {
    let cluster = Cluster::start().await;
    let mut honest = cluster.agent("honest").await;
    let stream = dial(&cluster, &client(&cluster, None)).await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    // The body never comes.
    let (answer, _body) = send.send_request(request(), false).unwrap();
    let answer = tokio::time::timeout(PATIENCE, answer).await.expect("an answer").unwrap();
    assert_eq!(answer.headers().get("grpc-status").unwrap(), "16", "{answer:?}");
    assert_eq!(answer.headers().get("vigo-reason").unwrap(), "no-client-certificate");
    still_serves(&cluster, &mut honest).await;
    cluster.stop().await;
}

/// A check-in whose answer is long, on a connection that takes `window` bytes of it.
async fn check_in_with_window(
    cluster: &Cluster,
    agent: &mut Agent,
    window: u32,
) -> (Result<h2::RecvStream, h2::Error>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = dial_as(cluster, agent).await;
    let mut builder = h2::client::Builder::new();
    let (mut send, connection) =
        builder.initial_window_size(window).handshake::<_, bytes::Bytes>(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let signed = prost::Message::encode_to_vec(&agent.signed(cluster));
    let length = u32::try_from(signed.len()).unwrap().to_be_bytes();
    let (answer, mut body) = send.send_request(request(), false).unwrap();
    body.send_data([&[0], length.as_slice(), &signed].concat().into(), true).unwrap();
    let answer = tokio::time::timeout(PATIENCE, answer).await.expect("an answer");
    (answer.map(http::Response::into_body), connection)
}

#[tokio::test]
async fn case_077_an_answer_that_nobody_reads_is_not_kept() {
    let cluster = Cluster::with(|c| c.limits.request = SHORT).await;
    cluster.policy.edit(|c| c.modules = vec![runtime_server::testing::module("long", &"x".repeat(1 << 20))]);
    cluster.server().reload().await.unwrap();
    let (mut reader, mut staller) = (cluster.agent("reader").await, cluster.agent("staller").await);

    // Who reads gets all of it.
    let (body, _connection) = check_in_with_window(&cluster, &mut reader, 1 << 20).await;
    let (mut body, mut read) = (body.unwrap(), 0);
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        read += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    assert!(read > 1 << 20);

    let (body, connection) = check_in_with_window(&cluster, &mut staller, 0).await;
    let _held = body.unwrap();
    tokio::time::timeout(PATIENCE, connection).await.expect("the server closes the connection").unwrap().ok();
    still_serves(&cluster, &mut reader).await;
    cluster.stop().await;
}

#[tokio::test]
async fn case_074_a_stranger_with_many_requests_is_held_to_few() {
    let cluster = Cluster::start().await;
    let mut stream = let_in(&cluster, &client(&cluster, None)).await;
    // `let_in` has read the head of the server's settings.
    let mut payload = [0; 256];
    let n = stream.read(&mut payload).await.unwrap();
    let streams = payload[..n].chunks_exact(6).find(|s| s[..2] == [0, 3]).expect("a limit on streams");
    assert_eq!(streams[2..], 4u32.to_be_bytes());
    cluster.stop().await;
}

#[tokio::test]
async fn case_074_https_lets_go_of_who_says_nothing_and_stops_with_browsers_still_there() {
    let cluster = Cluster::with(|c| {
        (c.limits.handshake, c.limits.first_request, c.limits.idle) = (SHORT, SHORT, SHORT);
    })
    .await;
    let address = cluster.server().http_address().unwrap();
    let mut silent = TcpStream::connect(address).await.unwrap();
    let connect = async |protocol: &[u8]| {
        let mut config = rustls::ClientConfig::clone(client(&cluster, None).config());
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    };
    let mut mute = connect(b"http/1.1").await;
    let mut mute2 = connect(b"h2").await;
    let mut dripping = connect(b"http/1.1").await;
    dripping.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ").await.unwrap();
    // Asked once, and then kept for the next page.
    let mut idle = connect(b"http/1.1").await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let said = until_closed(&mut idle).await;
    assert!(said.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&said));
    until_closed(&mut silent).await;
    until_closed(&mut mute).await;
    until_closed(&mut mute2).await;
    until_closed(&mut dripping).await;
    cluster.stop().await;

    let cluster = Cluster::start().await;
    let address = cluster.server().http_address().unwrap();
    let config = client(&cluster, None);
    let stream = TcpStream::connect(address).await.unwrap();
    let mut open = config.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    open.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await.unwrap();
    tokio::time::timeout(PATIENCE, cluster.stop()).await.expect("the server stops");
}
