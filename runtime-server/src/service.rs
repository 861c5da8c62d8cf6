//! The gRPC services: each method is let in, then handed to the module that does the work.

use crate::connection::Peer;
use crate::context::Context;
use crate::metrics::CheckIn;
use crate::reject::Reject;
use crate::{authorise, check_in, dispatch, enrol, renew, report};
use prost::Message;
use protocol::pb::check_in_reply::Answer;
use protocol::pb::enrolment_server::Enrolment;
use protocol::pb::fleet_server::Fleet;
use protocol::pb::renew_reply::Answer as RenewAnswer;
use protocol::pb::report_reply::Answer as ReportAnswer;
use protocol::pb::{
    CheckInReply, CheckInRequest, EnrollReply, EnrollRequest, RenewReply, ReportReply, SignedFrame,
    SignedRequest,
};
use protocol::request::Rpc;
use std::sync::Arc;
use std::time::Instant;
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
        let started = Instant::now();
        let answer = self.answer(authorise::peer(&request), request.get_ref()).await;
        let outcome = answer.as_ref().map_or(CheckIn::Rejected, |(answer, _)| CheckIn::of(answer));
        self.0.metrics.checkin(outcome, started.elapsed());
        let (answer, stream_requested) = answer.map_err(refused)?;
        Ok(Response::new(CheckInReply { stream_requested, ..check_in::reply(&self.0, answer) }))
    }

    async fn report_run(&self, request: Request<SignedRequest>) -> Result<Response<ReportReply>, Status> {
        let (peer, signed) = (authorise::peer(&request), request.get_ref());
        let caller = authorise::admit(&self.0, Rpc::ReportRun, peer, signed).await.map_err(refused)?;
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

impl Service {
    /// And whether a stream is wanted.
    async fn answer(&self, peer: Option<Peer>, signed: &SignedRequest) -> Result<(Answer, bool), Reject> {
        let caller = authorise::admit(&self.0, Rpc::CheckIn, peer, signed).await?;
        let asked = CheckInRequest::decode(signed.payload.as_slice())
            .map_err(|_| Reject::Malformed("not a check-in"))?;
        let answer = if caller.stale_key {
            check_in::stale_key(&self.0, &caller.envoy, &asked).await
        } else {
            check_in::answer(&self.0, &caller.envoy, &caller.header, asked).await?
        };
        Ok((answer, self.0.dispatch.wants_stream(&caller.envoy)))
    }
}

fn refused(reject: Reject) -> Status {
    tracing::debug!(reason = reject.reason(), "request refused: {reject}");
    reject.into()
}
