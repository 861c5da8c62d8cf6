//! The gRPC services: each method is let in, then handed to the module that does the work.

use crate::context::Context;
use crate::reject::Reject;
use crate::{authorise, check_in, dispatch, enrol, report};
use prost::Message;
use protocol::pb::enrolment_server::Enrolment;
use protocol::pb::fleet_server::Fleet;
use protocol::pb::report_reply::Answer as ReportAnswer;
use protocol::pb::{
    CheckInReply, CheckInRequest, EnrollReply, EnrollRequest, ReportReply, SignedFrame, SignedRequest,
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
        let (peer, signed) = (authorise::peer(&request), request.get_ref());
        authorise::meet(&self.0, peer, signed).await.map_err(refused)?;
        let caller = authorise::envoy(&self.0, Rpc::CheckIn, peer, signed).map_err(refused)?;
        let asked = CheckInRequest::decode(request.get_ref().payload.as_slice())
            .map_err(|_| refused(Reject::Malformed("not a check-in")))?;
        let answer = if caller.stale_key {
            check_in::stale_key(&self.0, asked.epoch).await
        } else {
            check_in::answer(&self.0, &caller.envoy, &caller.header, asked).await.map_err(refused)?
        };
        let mut reply = check_in::reply(&self.0, answer);
        reply.stream_requested = self.0.dispatch.wants_stream(&caller.envoy);
        Ok(Response::new(reply))
    }

    async fn report_run(&self, request: Request<SignedRequest>) -> Result<Response<ReportReply>, Status> {
        let (peer, signed) = (authorise::peer(&request), request.get_ref());
        authorise::meet(&self.0, peer, signed).await.map_err(refused)?;
        let caller = authorise::envoy(&self.0, Rpc::ReportRun, peer, signed).map_err(refused)?;
        let answer = if caller.stale_key {
            ReportAnswer::StaleKey(self.0.keys.current().statement.clone())
        } else {
            let payload = &request.get_ref().payload;
            let acknowledged = report::take(&self.0, &caller.envoy, payload).await.map_err(refused)?;
            ReportAnswer::AcknowledgedSeq(acknowledged)
        };
        Ok(Response::new(ReportReply { answer: Some(answer) }))
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
}

fn refused(reject: Reject) -> Status {
    tracing::debug!(reason = reject.reason(), "request refused: {reject}");
    reject.into()
}
