//! The way of a virtual envoy to the server: the agent's transport without what only costs the simulator time.

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use protocol::pb::fleet_client::FleetClient;

/// As the agent has it.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The name in the server's certificate.
const SERVER: &str = "localhost";

/// An open connection. Dropped, it closes.
pub type Client = FleetClient<Http2>;

/// Requests over one HTTP/2 connection.
#[derive(Clone, Debug)]
pub struct Http2(SendRequest<tonic::body::Body>);

impl tower_service::Service<http::Request<tonic::body::Body>> for Http2 {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Opens a connection. A loopback address is dialled from one of many addresses, as one alone has not enough ports
/// for a large fleet; `number` chooses it.
pub async fn open(server: SocketAddr, tls: Arc<ClientConfig>, number: usize) -> Result<Client, String> {
    tokio::time::timeout(CONNECT_LIMIT, dial(server, tls, number))
        .await
        .map_err(|_| "no connection within 10 s".to_owned())?
}

async fn dial(server: SocketAddr, tls: Arc<ClientConfig>, number: usize) -> Result<Client, String> {
    let text = |what: &str, e: &dyn std::error::Error| format!("{what}: {e}");
    let socket = TcpSocket::new_v4().map_err(|e| text("socket", &e))?;
    if server.ip().is_loopback() {
        let own = Ipv4Addr::new(127, 0, 1, 1 + (number % 16) as u8);
        socket.bind(SocketAddr::new(IpAddr::V4(own), 0)).map_err(|e| text("bind", &e))?;
    }
    let stream = socket.connect(server).await.map_err(|e| text("connect", &e))?;
    stream.set_nodelay(true).map_err(|e| text("connect", &e))?;
    let name = ServerName::try_from(SERVER).map_err(|e| text("name", &e))?;
    let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|e| text("TLS", &e))?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| text("HTTP/2", &e))?;
    tokio::spawn(async move {
        // What goes wrong with it shows at the request.
        let _ = connection.await;
    });
    let origin = http::Uri::from_static("https://localhost");
    Ok(FleetClient::with_origin(Http2(sender), origin).max_decoding_message_size(protocol::MAX_MESSAGE_BYTES))
}
