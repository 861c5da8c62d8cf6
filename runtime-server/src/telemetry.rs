//! Traces for whoever collects them: spans for check-ins, reports, publishing, HTTP requests and the database, sent to an
//! OpenTelemetry collector over OTLP.
//!
//! Spans name kinds of things (a route, an outcome) and never a host, a user or a value. Without a collector they are not even
//! made: nobody is interested in their target.

use crate::outgoing::{self, OutgoingError};
use bytes::Bytes;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use std::path::PathBuf;
use std::time::Duration;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// What spans are of; log lines are of other targets and never become part of a trace.
pub const TARGET: &str = "vigo::span";
/// Bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a span of ours: `span!("check-in", outcome)` has a field that is filled in later.
macro_rules! span {
    ($name:literal $(, $field:ident $(= $value:expr)?)* $(,)?) => {
        tracing::info_span!(target: crate::telemetry::TARGET, $name $(, $field = span!(@value $($value)?))*)
    };
    (@value) => { tracing::field::Empty };
    (@value $value:expr) => { $value };
}
pub(crate) use span;

/// Who collects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// `http://HOST:4318`.
    pub endpoint: String,
    /// CAs to trust, in PEM; without it, those of the system.
    pub ca_file: Option<PathBuf>,
    /// Of a hundred traces, so many are sent.
    pub sample_percent: u32,
}

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `telemetry.ca_file`.
    #[error("`telemetry.ca_file`: {0}")]
    Outgoing(#[from] OutgoingError),
    /// The library refused.
    #[error("traces cannot be sent: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Sends traces until it is shut down.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

/// Whether traces could be sent, as far as that can be said without a request.
pub fn check(settings: &TelemetrySettings) -> Result<(), TelemetryError> {
    Client::new(settings).map(drop)
}

impl Telemetry {
    /// On a thread of its own; a collector that does not answer costs spans and nothing else.
    pub fn start(settings: &TelemetrySettings) -> Result<Self, TelemetryError> {
        let client = Client::new(settings)?;
        let endpoint = settings.endpoint.trim_end_matches('/');
        let endpoint = endpoint.strip_suffix("/v1/traces").unwrap_or(endpoint);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .with_timeout(TIMEOUT)
            .build()?;
        let resource = Resource::builder_empty()
            .with_service_name("vigosrv")
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let share = f64::from(settings.sample_percent.min(100)) / 100.0;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))))
            .build();
        Ok(Telemetry { provider })
    }

    /// What takes spans of ours, and nothing else.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync>(
        &self,
    ) -> impl Layer<S> + Send + Sync + use<S> {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("vigosrv"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_level(false)
            .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO))
    }

    /// Sends what waits. Blocks.
    pub fn stop(&self) {
        if let Err(e) = self.provider.shutdown_with_timeout(TIMEOUT) {
            tracing::warn!(error = %e, "the last traces were not sent");
        }
    }
}

/// The server's own HTTP client: no second one, and no second TLS.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Client {
    fn new(settings: &TelemetrySettings) -> Result<Self, TelemetryError> {
        Ok(Client(outgoing::agent(settings.ca_file.as_deref(), TIMEOUT, false)?))
    }
}

#[tonic::async_trait]
impl HttpClient for Client {
    /// Blocks: it is called on the exporter's own thread.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let mut answered = self.0.run(http::Request::from_parts(parts, body.to_vec()))?;
        let body = answered.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec()?;
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = answered.status();
        Ok(response)
    }
}
