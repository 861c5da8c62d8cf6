//! The gRPC services, on connections.

use crate::connection::{Peer, Serve};
use crate::context::Context;
use crate::reject::Reject;
use crate::service::Service;
use hyper::body::Incoming;
use protocol::MAX_MESSAGE_BYTES;
use protocol::pb::enrolment_server::EnrolmentServer;
use protocol::pb::fleet_server::FleetServer;
use protocol::request::Rpc;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service as _;

/// A request to enrol is small; the sender is not known yet.
const MAX_ENROLMENT_BYTES: usize = 64 << 10;

/// The services.
#[derive(Clone, Debug)]
pub struct Grpc {
    fleet: FleetServer<Service>,
    enrolment: EnrolmentServer<Service>,
    limit: Duration,
}

impl Grpc {
    /// Answers for that context. `limit` is for the head of an answer; a stream may go on after it.
    pub fn new(context: Arc<Context>, limit: Duration) -> Self {
        let service = Service(context);
        Grpc {
            fleet: FleetServer::new(service.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
            enrolment: EnrolmentServer::new(service).max_decoding_message_size(MAX_ENROLMENT_BYTES),
            limit,
        }
    }
}

impl Serve for Grpc {
    type Service = Connection;
    type Body = Body;

    fn service(&self, peer: Peer) -> Connection {
        Connection { services: self.clone(), peer }
    }

    fn is_stream(path: &str) -> bool {
        path == Rpc::Stream.path()
    }
}

/// The services, for one connection.
#[derive(Debug)]
pub struct Connection {
    services: Grpc,
    peer: Peer,
}

impl hyper::service::Service<http::Request<Incoming>> for Connection {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: http::Request<Incoming>) -> Self::Future {
        let Grpc { fleet, enrolment, limit } = &self.services;
        let limit = *limit;
        request.extensions_mut().insert(self.peer);
        let answer = match self.peer {
            _ if request.uri().path().starts_with("/vigo.v1.Enrolment/") => enrolment.clone().call(request),
            Peer::Envoy(_) => fleet.clone().call(request),
            // Before a byte of the body is read: messages of envoys are long.
            Peer::Stranger => return refused(Reject::NoClientCertificate),
            Peer::Other => return refused(Reject::WrongEnvoy),
        };
        Box::pin(async move {
            match tokio::time::timeout(limit, answer).await {
                Ok(answer) => answer,
                Err(_) => Ok(Status::deadline_exceeded("the request took too long").into_http()),
            }
        })
    }
}

fn refused(reject: Reject) -> <Connection as hyper::service::Service<http::Request<Incoming>>>::Future {
    let answer = Status::from(reject).into_http();
    Box::pin(std::future::ready(Ok(answer)))
}
