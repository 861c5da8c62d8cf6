//! Connections from their first byte to their last: handshake, who it is, HTTP, and the limits on all of it.
//!
//! HTTP is hyper's; the servers of tonic and axum are left out because they know no limit on connections, on idle ones
//! or on those of one envoy. What is said on a connection is a [`Serve`]'s: gRPC or the HTTPS site.

mod activity;
mod gate;

use crate::certified::Certified;
use crate::limits::{self, Limits};
use crate::store::lock;
use activity::{Activity, Counted};
use bytes::Bytes;
use gate::{Gate, Place};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// What waits in memory for a peer that does not read, on each of its streams.
const SEND_BUFFER: usize = 64 << 10;
/// A connection that was asked to close has this long for what is under way.
const GRACE: Duration = Duration::from_secs(5);
/// A peer that vanished is noticed by the kernel, which costs this process nothing.
const KEEP_ALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(20))
    .with_retries(4);
/// Refusals are said at most this often.
const SAID_EVERY: Duration = Duration::from_secs(10);

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

/// What is said on the connections of a listener.
pub trait Serve: Send + Sync + 'static {
    /// One connection's.
    type Service: hyper::service::Service<
            http::Request<Incoming>,
            Response = http::Response<Self::Body>,
            Error = Infallible,
            Future: Send,
        > + Send
        + 'static;
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    /// For a connection of that peer. It limits the time of each request itself, because only it can say so in words
    /// that the peer understands.
    fn service(&self, peer: Peer) -> Self::Service;

    /// Whether answers to that path go on for as long as they like. All others have to be answered and read in time.
    fn is_stream(path: &str) -> bool;
}

/// What all connections share.
pub struct Listener<S> {
    serve: S,
    http: Builder<TokioExecutor>,
    /// For peers without a certificate.
    http_of_strangers: Builder<TokioExecutor>,
    tls: TlsAcceptor,
    limits: Limits,
    most: usize,
    gate: Arc<Gate>,
    stop: watch::Receiver<bool>,
    last_said: Mutex<Option<Instant>>,
}

impl<S> std::fmt::Debug for Listener<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl<S: Serve> Listener<S> {
    /// Nothing is accepted before [`Listener::serve`]. Ends when `stop` turns true. The versions of HTTP are those
    /// that `tls` agrees on.
    pub fn new(serve: S, tls: Arc<ServerConfig>, limits: Limits, stop: watch::Receiver<bool>) -> Self {
        let mut http = Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.first_request)
            .max_buf_size(limits.header_bytes as usize);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(limits.header_bytes)
            .max_pending_accept_reset_streams(limits.pending_resets)
            .max_local_error_reset_streams(limits.pending_resets)
            .max_send_buf_size(SEND_BUFFER);
        let http1 = tls.alpn_protocols.iter().any(|protocol| protocol == b"http/1.1");
        let http = if http1 { http } else { http.http2_only() };
        let mut http_of_strangers = http.clone();
        http_of_strangers.http2().max_concurrent_streams(limits.streams_of_stranger);
        Listener {
            serve,
            http,
            http_of_strangers,
            tls: TlsAcceptor::from(tls),
            most: limits.connections.unwrap_or_else(limits::lift_file_limit),
            limits,
            gate: Arc::default(),
            stop,
            last_said: Mutex::default(),
        }
    }

    /// Accepts until it is told to stop, then waits until every connection is closed. A failing `accept` (no more
    /// file descriptors, say) is waited out, not given up on.
    pub async fn serve(self, listener: TcpListener) {
        let this = Arc::new(self);
        // Each connection holds a sender, so the receiver sees the end of the last one.
        let (open, mut all_closed) = mpsc::channel::<Infallible>(1);
        let mut stop = this.stop.clone();
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
            let Some(place) = this.gate.take(this.most) else {
                this.say(peer, "all places for connections are taken");
                continue;
            };
            let (this, open) = (this.clone(), open.clone());
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
        let service = Counted {
            service: self.serve.service(peer),
            activity: activity.clone(),
            is_stream: S::is_stream,
        };
        let http = match peer {
            Peer::Envoy(_) => &self.http,
            Peer::Stranger | Peer::Other => &self.http_of_strangers,
        };
        let http = http.serve_connection(TokioIo::new(tls), service);
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
            if waited.is_ok() || !activity.busy() || Instant::now() >= end {
                return;
            }
        }
    }
}
