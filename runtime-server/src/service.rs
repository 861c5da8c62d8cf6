//! The gRPC services: each method is let in, then handed to the module that does the work.

use crate::context::Context;
use crate::reject::Reject;
use crate::{authorise, check_in, enrol, report};
use prost::Message;
use protocol::pb::enrolment_server::Enrolment;
use protocol::pb::fleet_server::Fleet;
use protocol::pb::report_reply::Answer as ReportAnswer;
use protocol::pb::{CheckInReply, CheckInRequest, EnrollReply, EnrollRequest, ReportReply, SignedRequest};
use protocol::request::Rpc;
use std::sync::Arc;
use tonic::{Request, Response, Status};

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
        authorise::meet(&self.0, &request).await.map_err(refused)?;
        let caller = authorise::envoy(&self.0, Rpc::CheckIn, &request).map_err(refused)?;
        let asked = CheckInRequest::decode(request.get_ref().payload.as_slice())
            .map_err(|_| refused(Reject::Malformed("not a check-in")))?;
        let answer = if caller.stale_key {
            check_in::stale_key(&self.0, asked.epoch).await
        } else {
            check_in::answer(&self.0, &caller.envoy, &caller.header, asked).await.map_err(refused)?
        };
        Ok(Response::new(check_in::reply(&self.0, answer)))
    }

    async fn report_run(&self, request: Request<SignedRequest>) -> Result<Response<ReportReply>, Status> {
        authorise::meet(&self.0, &request).await.map_err(refused)?;
        let caller = authorise::envoy(&self.0, Rpc::ReportRun, &request).map_err(refused)?;
        let answer = if caller.stale_key {
            ReportAnswer::StaleKey(self.0.keys.current().statement.clone())
        } else {
            let payload = &request.get_ref().payload;
            let acknowledged = report::take(&self.0, &caller.envoy, payload).await.map_err(refused)?;
            ReportAnswer::AcknowledgedSeq(acknowledged)
        };
        Ok(Response::new(ReportReply { answer: Some(answer) }))
    }
}

fn refused(reject: Reject) -> Status {
    tracing::debug!(reason = reject.reason(), "request refused: {reject}");
    reject.into()
}
