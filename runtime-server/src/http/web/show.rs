//! What pages say of things.

use crate::http::api::envoys::Envoy;
use crate::http::api::runs::{Outcome, Run};
use crate::status::{Compliance, Drift, Health, Reachability};
use crate::text::{plain, span};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub use crate::text::moment;

/// Characters of one text; longer ones are cut.
const TEXT: usize = 2000;

/// Text that an agent may have written.
pub fn text(text: &str) -> String {
    plain(text, TEXT)
}

/// A state with the class of its colour. The word is always there too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Badge {
    /// What it is called.
    pub name: String,
    /// `good`, `info`, `warn`, `bad` or `idle`.
    pub class: &'static str,
}

fn badge(name: impl ToString, class: &'static str) -> Badge {
    Badge { name: name.to_string(), class }
}

/// A state on the axis of health.
pub fn health(health: Health) -> Badge {
    badge(
        health,
        match health {
            Health::Converged => "good",
            Health::Degraded => "warn",
            Health::Failed => "bad",
            Health::NoData => "idle",
        },
    )
}

/// A state on the axis of drift.
pub fn drift(drift: Drift) -> Badge {
    badge(
        drift,
        match drift {
            Drift::None => "good",
            Drift::Changed => "info",
            Drift::Relapsed => "warn",
            Drift::Diverged => "bad",
        },
    )
}

/// The same for an envoy: no drift where nobody looked is no good news.
pub fn drift_of(envoy: &Envoy) -> Badge {
    let badge = drift(envoy.drift);
    if envoy.health == Health::NoData { Badge { class: "idle", ..badge } } else { badge }
}

/// A state on the axis of reachability.
pub fn reachability(reachability: Reachability) -> Badge {
    badge(
        reachability,
        match reachability {
            Reachability::Online => "good",
            Reachability::Late => "warn",
            Reachability::Offline => "bad",
        },
    )
}

/// What an envoy counts as.
pub fn compliance(compliance: Compliance) -> Badge {
    badge(
        compliance,
        match compliance {
            Compliance::Compliant => "good",
            Compliance::NonCompliant => "warn",
            Compliance::Unknown => "idle",
        },
    )
}

/// What became of a resource.
pub fn outcome(outcome: &str) -> Badge {
    badge(
        text(outcome),
        match outcome {
            "ok" => "good",
            "changed" => "info",
            "failed" => "bad",
            _ => "idle",
        },
    )
}

/// How bad a run was.
pub fn run_class(run: &Run) -> &'static str {
    match run {
        r if r.failed > 0 || r.interrupted => "bad",
        r if r.dropped.is_some() => "idle",
        r if r.changed > 0 => "info",
        _ => "good",
    }
}

/// What a run came to; nothing is said that is zero, but for what was right.
pub fn totals(run: &Run) -> String {
    let others = [(run.changed, "changed"), (run.failed, "failed"), (run.skipped, "skipped")];
    let others = others.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}"));
    format!("{} ok{}", run.ok, others.collect::<String>())
}

/// What else there is to say of a run.
pub fn notes(run: &Run) -> String {
    let only = run.only.as_ref().map(|only| format!("only {}", plain(only, 80)));
    let notes = [
        run.offline.then(|| "offline".to_owned()),
        run.interrupted.then(|| "broken off".to_owned()),
        run.dropped.map(|(from, to)| format!("stands for dropped results {from} to {to}")),
        only,
    ];
    notes.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A moment by how long ago it was.
pub fn ago(ms: u64, now: u64) -> String {
    match now.saturating_sub(ms) {
        0..=999 => "just now".to_owned(),
        passed => format!("{} ago", span(passed)),
    }
}

/// A part of a path, or a value in a query.
pub fn part(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
}

/// Everything but what host names and ids are made of.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// A resource in a run.
#[derive(Clone, Debug)]
pub struct Line {
    /// Module and name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// What became of it.
    pub outcome: Badge,
    /// What was done.
    pub action: String,
    /// What went wrong.
    pub error: String,
    /// How long it took.
    pub took: String,
}

impl From<&Outcome> for Line {
    fn from(r: &Outcome) -> Self {
        Line {
            name: plain(&format!("{}.{}", r.module, r.resource), 200),
            kind: plain(&r.kind, 60),
            outcome: outcome(&r.outcome),
            action: text(&r.action),
            error: text(&r.error),
            took: if r.duration_ms == 0 { String::new() } else { span(r.duration_ms) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_links() {
        assert_eq!(moment(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(moment(u64::MAX), "at no time there is");
        assert_eq!((ago(500, 1000).as_str(), ago(0, 61_000).as_str()), ("just now", "1 min 1 s ago"));
        assert_eq!(ago(9, 1), "just now", "a clock that went back");
        assert_eq!(part("a/b?c&d=é\""), "a%2Fb%3Fc%26d%3D%C3%A9%22");
    }
}
