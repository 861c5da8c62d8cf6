//! What happens on a connection: which requests are under way, and since when none is.

use crate::limits::Limits;
use crate::store::lock;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What happens on a connection.
#[derive(Default)]
pub(super) struct Activity {
    requests: Mutex<Requests>,
    pub(super) close: Notify,
}

struct Requests {
    /// When the last one ended, or the connection began.
    last: Instant,
    /// Whether one was ever answered.
    answered: bool,
    /// When each that is under way began. Streams are not among them: they may take as long as they like.
    whole: Vec<Instant>,
    streams: u32,
}

impl Default for Requests {
    fn default() -> Self {
        Requests { last: Instant::now(), answered: false, whole: Vec::new(), streams: 0 }
    }
}

impl Activity {
    /// When the connection is of no use any more, unless something happens before: nothing is asked, or an answer is
    /// not read.
    pub(super) fn deadline(&self, limits: &Limits) -> Instant {
        let requests = lock(&self.requests);
        match requests.whole.iter().min() {
            // The service has one `request` to answer, the peer has another one to read it.
            Some(oldest) => *oldest + 2 * limits.request,
            None if requests.streams > 0 => Instant::now() + limits.request,
            None if requests.answered => requests.last + limits.idle,
            None => requests.last + limits.first_request,
        }
    }

    /// Whether a request is under way.
    pub(super) fn busy(&self) -> bool {
        let requests = lock(&self.requests);
        requests.streams > 0 || !requests.whole.is_empty()
    }

    fn begin(self: &Arc<Self>, stream: bool) -> UnderWay {
        let mut requests = lock(&self.requests);
        let began = (!stream).then(Instant::now);
        match began {
            Some(began) => requests.whole.push(began),
            None => requests.streams += 1,
        }
        UnderWay { activity: self.clone(), began }
    }
}

/// A request, from its head to the end of its answer.
struct UnderWay {
    activity: Arc<Activity>,
    /// `None` for a stream.
    began: Option<Instant>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut requests = lock(&self.activity.requests);
        match self.began {
            // Of several that began at one moment it does not matter which one goes.
            Some(began) => {
                if let Some(at) = requests.whole.iter().position(|other| *other == began) {
                    requests.whole.swap_remove(at);
                }
            }
            None => requests.streams -= 1,
        }
        (requests.last, requests.answered) = (Instant::now(), true);
    }
}

/// A service whose requests are counted.
pub(super) struct Counted<S> {
    pub(super) service: S,
    pub(super) activity: Arc<Activity>,
    pub(super) is_stream: fn(&str) -> bool,
}

impl<S, B> Service<Request<Incoming>> for Counted<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<Answer<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let under_way = self.activity.begin((self.is_stream)(request.uri().path()));
        let answer = self.service.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| Answer { body, _under_way: under_way })) })
    }
}

/// The body of an answer, with the request that it answers: that is over when the peer has taken the last of it.
pub(super) struct Answer<B> {
    body: B,
    _under_way: UnderWay,
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
