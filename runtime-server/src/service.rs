//! The gRPC services: each method is let in, then handed to the module that does the work.

use crate::context::Context;
use crate::reject::Reject;
use crate::{authorise, check_in, dispatch, enrol, renew, report};
use protocol::pb::enrolment_server::Enrolment;
use protocol::pb::fleet_server::Fleet;
use protocol::pb::renew_reply::Answer as RenewAnswer;
use protocol::pb::{
    CheckInReply, EnrollReply, EnrollRequest, RenewReply, ReportReply, SignedFrame, SignedRequest,
};
use protocol::request::Rpc;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// Answers for a [`Context`].
#[derive(Clone, Debug)]
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl Enrolment for Service {
    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<EnrollReply>, Status> {
        let reply = enrol::enrol(&self.0, request.into_inner()).await.map_err(refused)?;
        Ok(Response::new(reply))
    }
}

#[tonic::async_trait]
impl Fleet for Service {
    async fn check_in(&self, request: Request<SignedRequest>) -> Result<Response<CheckInReply>, Status> {
        let peer = authorise::peer(&request);
        let reply = check_in::receive(&self.0, peer, request.get_ref()).await.map_err(refused)?;
        Ok(Response::new(reply))
    }

    async fn report_run(&self, request: Request<SignedRequest>) -> Result<Response<ReportReply>, Status> {
        let peer = authorise::peer(&request);
        let reply = report::receive(&self.0, peer, request.get_ref()).await.map_err(refused)?;
        Ok(Response::new(reply))
    }

    type StreamStream = dispatch::stream::Outgoing;

    async fn stream(
        &self,
        request: Request<Streaming<SignedFrame>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let peer = authorise::peer(&request);
        let outgoing = dispatch::stream::open(self.0.clone(), peer, request.into_inner()).await?;
        Ok(Response::new(outgoing))
    }

    async fn renew(&self, request: Request<SignedRequest>) -> Result<Response<RenewReply>, Status> {
        let (peer, signed) = (authorise::peer(&request), request.get_ref());
        let caller = authorise::admit(&self.0, Rpc::Renew, peer, signed).await.map_err(refused)?;
        let answer = if caller.stale_key {
            RenewAnswer::StaleKey(self.0.keys.current().statement.clone())
        } else {
            let certificate = renew::renew(&self.0, &caller, &signed.payload).await.map_err(refused)?;
            RenewAnswer::CertificatePem(certificate)
        };
        Ok(Response::new(RenewReply { answer: Some(answer) }))
    }
}

fn refused(reject: Reject) -> Status {
    tracing::debug!(reason = reject.reason(), "request refused: {reject}");
    reject.into()
}
