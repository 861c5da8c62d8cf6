//! Connections: TLS, HTTP/1.1 or HTTP/2 as the handshake agreed, and limits against clients that are slow or many.

use super::Site;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::codegen::tokio_stream::StreamExt;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

/// From the first byte to the end of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes at the same time; more wait in the kernel's queue.
const HANDSHAKES: usize = 4096;
/// From the first byte of a request to the end of its head; also how long an idle HTTP/1.1 connection stays.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// Connections at the same time; more wait.
const CONNECTIONS: usize = 2048;
/// Requests at the same time on one HTTP/2 connection.
const STREAMS: u32 = 100;
const HEADER_BYTES: usize = 16 << 10;
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Requests under way when the server is told to stop have this long to finish.
const DRAIN: Duration = Duration::from_secs(10);

/// The listener at work.
#[derive(Debug)]
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Listening {
    /// Serves until `stop` turns true.
    pub fn start(
        listener: TcpListener,
        address: SocketAddr,
        tls: Arc<ServerConfig>,
        site: Arc<Site>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let router = super::route::router(site);
        Listening { address, task: tokio::spawn(serve(listener, tls, router, stop)) }
    }

    /// Waits until requests under way are finished; `stop` has to be true already.
    pub async fn ended(self) {
        if self.task.await.is_err() {
            tracing::error!("serving HTTP crashed");
        }
    }
}

async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let mut incoming = accept(listener, config, stop.clone());
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { break };
        let next = tokio::select! {
            next = incoming.next() => next,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Some(Ok(stream)) = next else { break };
        let (router, watcher) = (router.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _permit = permit;
            connection(stream, router, watcher).await;
        });
    }
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("HTTP requests were still under way; they are cut off");
    }
}

async fn connection(stream: TlsStream<TcpStream>, router: Router, watcher: Watcher) {
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let (io, service) = (TokioIo::new(stream), TowerToHyperService::new(router));
    let ended = if http2 {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEADER_BYTES as u32)
            .max_pending_accept_reset_streams(50)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        watcher.watch(builder.serve_connection(io, service)).await
    } else {
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEADER_BYTES);
        watcher.watch(builder.serve_connection(io, service)).await
    };
    if let Err(e) = ended {
        tracing::debug!(error = %e, "an HTTP connection ended early");
    }
}

/// Connections that finished their handshake. Ends when `stop` turns true; a failing `accept` (no more file
/// descriptors, say) is waited out, not given up on.
fn accept(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    mut stop: watch::Receiver<bool>,
) -> ReceiverStream<Result<TlsStream<TcpStream>, io::Error>> {
    let (done, connections) = mpsc::channel(64);
    let acceptor = TlsAcceptor::from(config);
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    tokio::spawn(async move {
        loop {
            let Ok(permit) = handshakes.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    tracing::warn!(error = %e, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (acceptor, done) = (acceptor.clone(), done.clone());
            tokio::spawn(async move {
                let _permit = permit;
                // Without it, small answers wait for acknowledgements.
                let _ = stream.set_nodelay(true);
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                    Ok(Ok(tls)) => {
                        let _ = done.send(Ok(tls)).await;
                    }
                    Ok(Err(e)) => tracing::debug!(%peer, error = %e, "the TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
                }
            });
        }
    });
    ReceiverStream::new(connections)
}
