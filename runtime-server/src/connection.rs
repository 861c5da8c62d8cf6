//! Connections from their first byte to their last: handshake, who it is, HTTP/2, and the limits on all of it.
//!
//! HTTP/2 is hyper's; tonic's own server is left out because it knows no limit on connections, on idle ones or on
//! those of one envoy.

use crate::certified::Certified;
use crate::context::Context;
use crate::limits::Limits;
use crate::service::Service;
use crate::store::lock;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use protocol::MAX_MESSAGE_BYTES;
use protocol::pb::enrolment_server::EnrolmentServer;
use protocol::pb::fleet_server::FleetServer;
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service as _;

/// A request to enrol is small; the sender is not known yet.
const MAX_ENROLMENT_BYTES: usize = 64 << 10;
/// A connection that was asked to close has this long for what is under way.
const GRACE: Duration = Duration::from_secs(5);
/// A peer that vanished is noticed by the kernel, which costs this process nothing.
const KEEP_ALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(20))
    .with_retries(4);
/// Refusals are said at most this often.
const SAID_EVERY: Duration = Duration::from_secs(10);
/// Methods whose answer is one message, and so over when its head is there.
const UNARY: &[&str] = &["/CheckIn", "/ReportRun", "/Renew", "/Enroll"];

/// Who is at the other end, by the certificate of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "nearly all are envoys, and there is one per connection")]
pub enum Peer {
    /// No certificate.
    Stranger,
    /// The CA certified this.
    Envoy(Certified),
    /// A certificate of the CA that is no envoy's.
    Other,
}

/// What all connections share.
pub struct Listener {
    tls: TlsAcceptor,
    limits: Limits,
    most: usize,
    gate: Arc<Gate>,
    fleet: FleetServer<Service>,
    enrolment: EnrolmentServer<Service>,
    stop: watch::Receiver<bool>,
    last_said: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Listener {
    /// Nothing is accepted before [`Listener::serve`]. Ends when `stop` turns true.
    pub fn new(
        context: Arc<Context>,
        tls: Arc<ServerConfig>,
        limits: Limits,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let service = Service(context);
        Listener {
            tls: TlsAcceptor::from(tls),
            most: limits.all_connections(),
            limits,
            gate: Arc::default(),
            fleet: FleetServer::new(service.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
            enrolment: EnrolmentServer::new(service).max_decoding_message_size(MAX_ENROLMENT_BYTES),
            stop,
            last_said: Mutex::default(),
        }
    }

    /// Accepts until it is told to stop, then waits until every connection is closed. A failing `accept` (no more
    /// file descriptors, say) is waited out, not given up on.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        // Each connection holds a sender, so the receiver sees the end of the last one.
        let (open, mut all_closed) = mpsc::channel::<Infallible>(1);
        let mut stop = self.stop.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    tracing::warn!(error = %e, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Some(place) = self.gate.take(self.most) else {
                self.say(peer, "all places for connections are taken");
                continue;
            };
            let (this, open) = (self.clone(), open.clone());
            tokio::spawn(async move {
                let _open = open;
                this.connection(stream, peer, place).await;
            });
        }
        drop(listener);
        drop(open);
        let _ = all_closed.recv().await;
    }

    /// One that is refused says little about the next thousand.
    fn say(&self, peer: SocketAddr, why: &str) {
        let mut last = lock(&self.last_said);
        if last.is_none_or(|last| last.elapsed() > SAID_EVERY) {
            *last = Some(Instant::now());
            tracing::warn!(%peer, open = self.gate.open.load(Ordering::Relaxed), "a connection is refused: {why}");
        }
    }

    async fn connection(&self, stream: TcpStream, address: SocketAddr, mut place: Place) {
        // Without it, small answers wait for acknowledgements.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEP_ALIVE);
        let tls = match tokio::time::timeout(self.limits.handshake, self.tls.accept(stream)).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(e)) => return tracing::debug!(peer = %address, error = %e, "the TLS handshake failed"),
            Err(_) => return tracing::debug!(peer = %address, "the TLS handshake took too long"),
        };
        let peer = match tls.get_ref().1.peer_certificates().and_then(|certificates| certificates.first()) {
            None => Peer::Stranger,
            Some(certificate) => Certified::read(certificate).map_or(Peer::Other, Peer::Envoy),
        };
        let activity = Arc::new(Activity::default());
        if !place.settle(&peer, &activity, &self.limits) {
            return self.say(address, "too many connections without a certificate");
        }
        let grpc = Grpc {
            fleet: self.fleet.clone(),
            enrolment: self.enrolment.clone(),
            peer,
            activity: activity.clone(),
            limit: self.limits.request,
        };
        let http = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams)
            .max_header_list_size(self.limits.header_bytes)
            .max_pending_accept_reset_streams(self.limits.pending_resets)
            .max_local_error_reset_streams(self.limits.pending_resets)
            .serve_connection(TokioIo::new(tls), grpc);
        let mut http = pin!(http);
        let mut stop = self.stop.clone();
        {
            let mut stopping = pin!(stop.wait_for(|stop| *stop));
            let mut wake = pin!(tokio::time::sleep_until(activity.deadline(&self.limits)));
            loop {
                tokio::select! {
                    _ = http.as_mut() => return,
                    _ = stopping.as_mut() => break,
                    () = activity.close.notified() => break,
                    () = wake.as_mut() => {
                        let deadline = activity.deadline(&self.limits);
                        if deadline <= Instant::now() {
                            break;
                        }
                        wake.as_mut().reset(deadline);
                    }
                }
            }
        }
        // What is under way is finished, if the peer plays along; a stream that goes on and on is cut.
        http.as_mut().graceful_shutdown();
        let end = Instant::now() + self.limits.request;
        loop {
            let waited = tokio::time::timeout(GRACE, http.as_mut()).await;
            let under_way = activity.under_way.load(Ordering::Acquire) > 0;
            if waited.is_ok() || !under_way || Instant::now() >= end {
                return;
            }
        }
    }
}

/// How many connections there are, and whose.
#[derive(Default)]
struct Gate {
    open: AtomicUsize,
    strangers: AtomicUsize,
    /// By the key of the certificate, oldest first.
    envoys: Mutex<HashMap<[u8; 32], Vec<Arc<Activity>>>>,
}

impl Gate {
    fn take(self: &Arc<Self>, most: usize) -> Option<Place> {
        let taken = self.open.fetch_add(1, Ordering::AcqRel);
        // Dropped, it gives back what it took.
        let place = Place { gate: self.clone(), holder: Holder::Handshake };
        (taken < most).then_some(place)
    }
}

/// The place of a connection; free again when it is dropped.
struct Place {
    gate: Arc<Gate>,
    holder: Holder,
}

enum Holder {
    Handshake,
    Stranger,
    Envoy([u8; 32], Arc<Activity>),
}

impl Place {
    /// Knows now whose it is. False when there is no place for another stranger; an envoy always gets one, and its
    /// oldest connection is closed when that makes too many: an agent that lost its way to a dead one must not be
    /// kept waiting by it.
    fn settle(&mut self, peer: &Peer, activity: &Arc<Activity>, limits: &Limits) -> bool {
        let Peer::Envoy(Certified { key, .. }) = peer else {
            self.holder = Holder::Stranger;
            return self.gate.strangers.fetch_add(1, Ordering::AcqRel) < limits.strangers;
        };
        self.holder = Holder::Envoy(key.to_bytes(), activity.clone());
        let mut envoys = lock(&self.gate.envoys);
        let own = envoys.entry(key.to_bytes()).or_default();
        own.push(activity.clone());
        if own.len() > limits.per_envoy {
            own.remove(0).close.notify_one();
        }
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.open.fetch_sub(1, Ordering::AcqRel);
        match &self.holder {
            Holder::Handshake => {}
            Holder::Stranger => drop(self.gate.strangers.fetch_sub(1, Ordering::AcqRel)),
            Holder::Envoy(key, activity) => {
                let mut envoys = lock(&self.gate.envoys);
                if let Some(own) = envoys.get_mut(key) {
                    own.retain(|other| !Arc::ptr_eq(other, activity));
                    if own.is_empty() {
                        envoys.remove(key);
                    }
                }
            }
        }
    }
}

/// What happens on a connection.
struct Activity {
    began: Instant,
    /// Requests whose answer is not out yet.
    under_way: AtomicU32,
    /// Whether a request was ever answered.
    answered: AtomicBool,
    /// Milliseconds from `began` to the end of the last request.
    last: AtomicU64,
    close: Notify,
}

impl Default for Activity {
    fn default() -> Self {
        Activity {
            began: Instant::now(),
            under_way: AtomicU32::new(0),
            answered: AtomicBool::new(false),
            last: AtomicU64::new(0),
            close: Notify::new(),
        }
    }
}

impl Activity {
    /// When the connection has been silent for too long, unless something happens before.
    fn deadline(&self, limits: &Limits) -> Instant {
        let last = self.began + Duration::from_millis(self.last.load(Ordering::Acquire));
        match (self.under_way.load(Ordering::Acquire), self.answered.load(Ordering::Acquire)) {
            (0, false) => last + limits.first_request,
            (0, true) => last + limits.idle,
            // It has a limit of its own.
            _ => Instant::now() + limits.request,
        }
    }

    fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        UnderWay(self.clone())
    }
}

/// A request, from its head to the end of its answer.
struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last.store(now, Ordering::Release);
        self.0.answered.store(true, Ordering::Release);
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The services, for one connection.
struct Grpc {
    fleet: FleetServer<Service>,
    enrolment: EnrolmentServer<Service>,
    peer: Peer,
    activity: Arc<Activity>,
    limit: Duration,
}

impl hyper::service::Service<http::Request<Incoming>> for Grpc {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: http::Request<Incoming>) -> Self::Future {
        let under_way = self.activity.begin();
        let limit = self.limit;
        request.extensions_mut().insert(self.peer);
        let path = request.uri().path();
        let unary = UNARY.iter().any(|method| path.ends_with(method));
        let answer = if path.starts_with("/vigo.v1.Enrolment/") {
            self.enrolment.clone().call(request)
        } else {
            self.fleet.clone().call(request)
        };
        Box::pin(async move {
            let answer = match tokio::time::timeout(limit, answer).await {
                Ok(answer) => answer?,
                Err(_) => Status::deadline_exceeded("the request took too long").into_http(),
            };
            // A stream goes on after its head, and its connection is not idle until it ends.
            Ok(if unary {
                answer
            } else {
                answer.map(|body| Body::new(Streaming { body, _under_way: under_way }))
            })
        })
    }
}

/// A body with the request that it answers.
struct Streaming {
    body: Body,
    _under_way: UnderWay,
}

impl http_body::Body for Streaming {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
