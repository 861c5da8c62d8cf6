//! Metrics in the Prometheus text format.
//!
//! None has a label per envoy: a scrape of a large fleet stays small. What is counted while requests are answered is a
//! counter here; what is known by looking (the state of the fleet, the age of the release) is set by
//! [`crate::http`] when somebody scrapes.

use crate::status::{Compliance, Drift, Health, Reachability, Status};
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};
use protocol::pb::check_in_reply::Answer;
use std::collections::HashMap;
use std::time::Duration;

/// What a check-in came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckIn {
    /// Nothing new.
    NoChange,
    /// A bundle went out.
    Bundle,
    /// The envoy has to send its traits.
    NeedTraits,
    /// The envoy knows another signing key.
    StaleKey,
    /// The envoy has to prove that it has seen a later key.
    NeedProof,
    /// It was let in, and there is nothing for it.
    Refused,
    /// It was turned away.
    Rejected,
}

impl CheckIn {
    /// From the answer that was given.
    pub fn of(answer: &Answer) -> Self {
        match answer {
            Answer::NoChange(_) => CheckIn::NoChange,
            Answer::Bundle(_) => CheckIn::Bundle,
            Answer::NeedTraits(_) => CheckIn::NeedTraits,
            Answer::StaleKey(_) => CheckIn::StaleKey,
            Answer::NeedProof(_) => CheckIn::NeedProof,
            Answer::Refusal(_) => CheckIn::Refused,
        }
    }

    const ALL: [CheckIn; 7] = [
        CheckIn::NoChange,
        CheckIn::Bundle,
        CheckIn::NeedTraits,
        CheckIn::StaleKey,
        CheckIn::NeedProof,
        CheckIn::Refused,
        CheckIn::Rejected,
    ];

    /// For people and programs.
    pub fn name(self) -> &'static str {
        match self {
            CheckIn::NoChange => "no-change",
            CheckIn::Bundle => "bundle",
            CheckIn::NeedTraits => "need-traits",
            CheckIn::StaleKey => "stale-key",
            CheckIn::NeedProof => "need-proof",
            CheckIn::Refused => "refused",
            CheckIn::Rejected => "rejected",
        }
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The webhook took it.
    Taken,
    /// It did not, and will be asked again.
    Failed,
    /// It will never be sent.
    Dropped,
}

/// What is known by looking.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The status of every active envoy.
    pub envoys: Vec<Status>,
    /// Serial, digest and age of the release that is served.
    pub release: Option<(u64, String, Duration)>,
    /// The last attempt to publish was refused.
    pub publish_refused: bool,
    /// Nothing is published for now, on purpose.
    pub publish_frozen: bool,
    /// Streams that are open here.
    pub streams: usize,
    /// Whether the audit log is whole, when that was checked.
    pub audit_valid: Option<bool>,
    /// The database, in bytes.
    pub store_bytes: Option<u64>,
    /// Events that wait for the webhook.
    pub events_pending: u64,
    /// When the server's own certificates end, in milliseconds since 1970-01-01 UTC.
    pub certificates: Vec<(&'static str, u64)>,
}

/// What is odd about a report that is taken in all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// The same run with other content; the first one is kept.
    Contradiction,
    /// Another run under a number that was used.
    NumberReused,
    /// Numbers are missing, and will not come any more.
    Lost,
}

impl Suspicion {
    const ALL: [Suspicion; 3] = [Suspicion::Contradiction, Suspicion::NumberReused, Suspicion::Lost];

    fn name(self) -> &'static str {
        match self {
            Suspicion::Contradiction => "contradiction",
            Suspicion::NumberReused => "number-reused",
            Suspicion::Lost => "lost",
        }
    }
}

/// All of them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    checkins: [IntCounter; CheckIn::ALL.len()],
    checkin_seconds: Histogram,
    resources: IntCounterVec,
    http_requests: IntCounterVec,
    http_seconds: HistogramVec,
    envoys: GaugeVec,
    envoys_stale: IntGauge,
    compliance: GaugeVec,
    release_age: GaugeVec,
    release: GaugeVec,
    refused: IntGauge,
    frozen: IntGauge,
    streams: IntGauge,
    audit_valid: GaugeVec,
    store_bytes: GaugeVec,
    certificates: GaugeVec,
    events: IntCounterVec,
    events_pending: IntGauge,
    suspect: IntCounterVec,
}

impl Metrics {
    /// With nothing counted yet.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = labelled(
            &registry,
            "vigo_build_info",
            "The version of the server; always 1.",
            &["version", "commit"],
        )?;
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION"), option_env!("VIGO_COMMIT").unwrap_or("unknown")])
            .set(1.0);
        let checkins = IntCounterVec::new(
            Opts::new("vigo_checkins_total", "Check-ins by what they came to."),
            &["outcome"],
        )?;
        registry.register(Box::new(checkins.clone()))?;
        let checkin_seconds = Histogram::with_opts(
            HistogramOpts::new("vigo_checkin_duration_seconds", "How long answering a check-in took.")
                .buckets(vec![0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0]),
        )?;
        registry.register(Box::new(checkin_seconds.clone()))?;
        let resources = IntCounterVec::new(
            Opts::new("vigo_resources_total", "Resources in reported runs by what became of them."),
            &["outcome"],
        )?;
        registry.register(Box::new(resources.clone()))?;
        let http_requests = IntCounterVec::new(
            Opts::new("vigo_http_requests_total", "HTTP requests by route and status."),
            &["route", "code"],
        )?;
        registry.register(Box::new(http_requests.clone()))?;
        let http_seconds = HistogramVec::new(
            HistogramOpts::new(
                "vigo_http_request_duration_seconds",
                "How long answering an HTTP request took.",
            )
            .buckets(vec![0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0]),
            &["route"],
        )?;
        registry.register(Box::new(http_seconds.clone()))?;
        let events = IntCounterVec::new(
            Opts::new(
                "vigo_events_total",
                "Events for the webhook by what became of them; an attempt that failed counts too.",
            ),
            &["outcome"],
        )?;
        registry.register(Box::new(events.clone()))?;
        let suspect = IntCounterVec::new(
            Opts::new(
                "vigo_reports_suspect_total",
                "Reports that point to a restored or cloned disk, lost results or somebody who tells lies.",
            ),
            &["reason"],
        )?;
        registry.register(Box::new(suspect.clone()))?;
        for reason in Suspicion::ALL {
            // At 0 from the start, so that an alert sees the first one.
            suspect.with_label_values(&[reason.name()]).reset();
        }
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
        let whole = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Metrics {
            checkins: CheckIn::ALL.map(|outcome| checkins.with_label_values(&[outcome.name()])),
            checkin_seconds,
            resources,
            http_requests,
            http_seconds,
            envoys: labelled(
                &registry,
                "vigo_envoys",
                "Active envoys by their state on each of the three axes.",
                &["health", "drift", "reachability"],
            )?,
            envoys_stale: whole(
                "vigo_envoys_stale",
                "Active envoys of which nothing is known lately; none of them counts as compliant.",
            )?,
            compliance: labelled(
                &registry,
                "vigo_compliance_ratio",
                "Compliant envoys of all active ones, from 0 to 1; absent without envoys.",
                &["framework"],
            )?,
            release_age: labelled(
                &registry,
                "vigo_bundle_age_seconds",
                "Time since the release that is served was published; absent when there is none.",
                &[],
            )?,
            release: labelled(
                &registry,
                "vigo_bundle_info",
                "The release that is served; always 1.",
                &["digest", "revision"],
            )?,
            refused: whole(
                "vigo_publish_refused",
                "1 while the last policy that somebody wanted to publish was refused, and the release before it is served.",
            )?,
            frozen: whole("vigo_publish_frozen", "1 while publishing is frozen.")?,
            streams: whole("vigo_streams", "Envoys that have a stream to this server.")?,
            audit_valid: labelled(
                &registry,
                "vigo_audit_chain_valid",
                "1 when the audit log was whole at the last check, 0 when it was tampered with.",
                &[],
            )?,
            events,
            suspect,
            events_pending: whole("vigo_events_pending", "Events that wait for the webhook.")?,
            certificates: labelled(
                &registry,
                "vigo_certificate_expiry_timestamp_seconds",
                "When a certificate of the server's own ends, in seconds since 1970.",
                &["certificate"],
            )?,
            store_bytes: labelled(&registry, "vigo_store_size_bytes", "The size of the database.", &[])?,
            registry,
        })
    }

    /// A check-in was answered.
    pub fn checkin(&self, outcome: CheckIn, took: Duration) {
        if let Some(counter) =
            CheckIn::ALL.iter().position(|o| *o == outcome).and_then(|at| self.checkins.get(at))
        {
            counter.inc();
        }
        self.checkin_seconds.observe(took.as_secs_f64());
    }

    /// A report was taken in that is odd.
    pub fn suspect(&self, reason: Suspicion) {
        self.suspect.with_label_values(&[reason.name()]).inc();
    }

    /// A run was reported for the first time: how many resources were ok, changed, failed, skipped.
    pub fn resources(&self, ok: u64, changed: u64, failed: u64, skipped: u64) {
        for (outcome, count) in [("ok", ok), ("changed", changed), ("failed", failed), ("skipped", skipped)] {
            self.resources.with_label_values(&[outcome]).inc_by(count);
        }
    }

    /// Something became of events.
    pub fn events(&self, outcome: Sent, count: u64) {
        let outcome = match outcome {
            Sent::Taken => "taken",
            Sent::Failed => "failed",
            Sent::Dropped => "dropped",
        };
        self.events.with_label_values(&[outcome]).inc_by(count);
    }

    /// An HTTP request was answered.
    pub fn http(&self, route: &str, code: u16, took: Duration) {
        self.http_requests.with_label_values(&[route, &code.to_string()]).inc();
        self.http_seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// The text of a scrape.
    pub fn text(&self, now: &Snapshot) -> Result<String, prometheus::Error> {
        self.take_in(now);
        let mut text = String::new();
        TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    fn take_in(&self, now: &Snapshot) {
        self.events_pending.set(i64::try_from(now.events_pending).unwrap_or(i64::MAX));
        for (certificate, end) in &now.certificates {
            self.certificates.with_label_values(&[certificate]).set(*end as f64 / 1000.0);
        }
        let mut counts: HashMap<_, f64> = HashMap::new();
        for status in &now.envoys {
            *counts
                .entry((status.health.to_string(), status.drift.to_string(), status.reachability.to_string()))
                .or_default() += 1.0;
        }
        // Every combination, so that a series does not vanish when its last envoy gets well.
        for health in Health::ALL.iter().map(ToString::to_string) {
            for drift in Drift::ALL.iter().map(ToString::to_string) {
                for reachability in Reachability::ALL.iter().map(ToString::to_string) {
                    let gauge = self.envoys.with_label_values(&[&health, &drift, &reachability]);
                    let key = (health.clone(), drift.clone(), reachability);
                    gauge.set(counts.get(&key).copied().unwrap_or(0.0));
                }
            }
        }
        let count = |of: Compliance| now.envoys.iter().filter(|s| s.compliance == of).count();
        self.envoys_stale.set(count(Compliance::Unknown) as i64);
        self.compliance.reset();
        if !now.envoys.is_empty() {
            let ratio = count(Compliance::Compliant) as f64 / now.envoys.len() as f64;
            self.compliance.with_label_values(&["convergence"]).set(ratio);
        }
        self.release.reset();
        if let Some((serial, digest, _)) = &now.release {
            self.release.with_label_values(&[digest.as_str(), &serial.to_string()]).set(1.0);
        }
        self.refused.set(i64::from(now.publish_refused));
        self.frozen.set(i64::from(now.publish_frozen));
        self.streams.set(i64::try_from(now.streams).unwrap_or(i64::MAX));
        alone(&self.release_age, now.release.as_ref().map(|(_, _, age)| age.as_secs_f64()));
        alone(&self.audit_valid, now.audit_valid.map(|valid| f64::from(u8::from(valid))));
        alone(&self.store_bytes, now.store_bytes.map(|bytes| bytes as f64));
    }
}

/// A gauge that is not there while nothing is known.
fn alone(gauge: &GaugeVec, value: Option<f64>) {
    gauge.reset();
    if let Some(value) = value {
        gauge.with_label_values::<&str>(&[]).set(value);
    }
}

fn labelled(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<GaugeVec, prometheus::Error> {
    let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_shows_what_was_counted() {
        let metrics = Metrics::new().unwrap();
        metrics.checkin(CheckIn::Bundle, Duration::from_millis(2));
        metrics.resources(3, 2, 1, 0);
        metrics.http("/api/v1/envoys/{envoy}", 200, Duration::from_millis(1));
        let status = Status::at(None, 0, &[], 0);
        let snapshot = Snapshot {
            envoys: vec![status, status],
            release: Some((7, "ab".into(), Duration::from_secs(90))),
            publish_refused: true,
            ..Snapshot::default()
        };
        let text = metrics.text(&snapshot).unwrap();
        for line in [
            "vigo_checkins_total{outcome=\"bundle\"} 1",
            "vigo_resources_total{outcome=\"changed\"} 2",
            "vigo_envoys{drift=\"none\",health=\"no data\",reachability=\"offline\"} 2",
            "vigo_envoys_stale 2",
            "vigo_compliance_ratio{framework=\"convergence\"} 0",
            "vigo_bundle_info{digest=\"ab\",revision=\"7\"} 1",
            "vigo_bundle_age_seconds 90",
            "vigo_publish_refused 1",
            "vigo_http_requests_total{code=\"200\",route=\"/api/v1/envoys/{envoy}\"} 1",
            "process_resident_memory_bytes ",
        ] {
            assert!(text.lines().any(|l| l.starts_with(line)), "{line}\n{text}");
        }
        let none = metrics.text(&Snapshot::default()).unwrap();
        assert!(!none.contains("vigo_compliance_ratio{"), "no envoys, nothing compliant");
    }
}
