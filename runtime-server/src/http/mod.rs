//! HTTPS: probes, metrics, the REST API and the dashboard.
//!
//! Where to start reading: [`route`] has every route with what it requires, [`auth`] decides who may, [`survey`] is the
//! fleet that all of them look at.

pub mod api;
pub mod auth;
mod call;
pub mod openapi;
pub mod page;
pub mod probes;
pub mod problem;
pub mod route;
mod serve;
pub mod survey;
mod web;

pub use call::IDEMPOTENCY_KEY;
pub use serve::Https;

use crate::context::Context;
use crate::store::{StoreError, audit, samples};
use problem::Problem;
use serde_json::Value;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use survey::{Survey, Surveyor};
use tokio::sync::{Semaphore, watch};

/// The least and the most time between two samples of the fleet's compliance; in between, it is the check-in interval.
const SAMPLING: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// How often the audit log is checked.
const CARE: Duration = Duration::from_secs(3600);

/// What requests share.
#[derive(Debug)]
pub struct Site {
    /// The server.
    pub context: Arc<Context>,
    /// The port that agents dial.
    pub grpc_port: u16,
    surveyor: Surveyor,
    /// Requests with a large body, one at a time.
    large: Semaphore,
    document: OnceLock<Value>,
    /// 0: not looked at yet, 1: broken, 2: whole.
    audit: AtomicU8,
}

impl Site {
    /// Of a server whose agents dial that port.
    pub fn new(context: Arc<Context>, grpc_port: u16) -> Self {
        let (surveyor, document, audit) = Default::default();
        Site { context, grpc_port, surveyor, large: Semaphore::new(1), document, audit }
    }

    /// The fleet as it is now, or was a moment ago.
    pub async fn survey(&self) -> Result<Arc<Survey>, Problem> {
        self.surveyor.survey(&self.context).await
    }

    /// Makes the next survey a new one.
    pub async fn forget(&self) {
        self.surveyor.forget().await;
    }

    /// The OpenAPI document.
    pub fn document(&self) -> &Value {
        self.document.get_or_init(openapi::document)
    }

    /// Whether the audit log was whole when it was last checked; `None` before that.
    pub fn audit_valid(&self) -> Option<bool> {
        match self.audit.load(Ordering::Relaxed) {
            0 => None,
            state => Some(state == 2),
        }
    }

    /// Samples compliance and checks the audit log until `stop` turns true.
    pub async fn look_after(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let (least, most) = SAMPLING;
        let every = self.context.checkin.interval.clamp(least, most);
        let mut cared = None;
        loop {
            if let Err(e) = self.sample(every).await {
                tracing::error!(error = %e, "cannot store how compliant the fleet is");
            }
            if cared.is_none_or(|at: Instant| at.elapsed() >= CARE) {
                cared = Some(Instant::now());
                if let Err(e) = self.care().await {
                    tracing::error!(error = %e, "cannot check the audit log");
                }
            }
            if tokio::time::timeout(every, stop.wait_for(|stop| *stop)).await.is_ok() {
                return;
            }
        }
    }

    async fn sample(&self, every: Duration) -> Result<(), Problem> {
        let survey = self.survey().await?;
        let count = survey.count();
        // Servers on one database sample at the same moments.
        let every = every.as_millis() as u64;
        let sample = samples::Sample {
            at: survey.at - survey.at % every.max(1),
            active: count.active,
            compliant: count.compliant,
            non_compliant: count.non_compliant,
            unknown: count.unknown,
        };
        if count.active > 0 {
            self.context.store.call(move |conn| samples::add(conn, &sample)).await?;
        }
        Ok(())
    }

    async fn care(&self) -> Result<(), StoreError> {
        let verified = self.context.store.read(audit::verify).await?;
        if let Some(seq) = verified.broken_at {
            tracing::error!(
                entry = seq,
                "the audit log was tampered with: an entry does not fit the one before"
            );
        }
        self.audit.store(if verified.broken_at.is_none() { 2 } else { 1 }, Ordering::Relaxed);
        Ok(())
    }
}
