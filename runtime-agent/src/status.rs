//! How the agent is: gathered once, shown to people, programs and monitoring alike.

use crate::agent::{Agent, AgentError};
use crate::checkin::Conversation;
use crate::clock::Millis;
use crate::identity::{Identity, IdentityError};
use crate::pause::Pause;
use crate::speaker::Separation;
use crate::store::{Crashes, Past, Store};
use crate::text::{printable, span, took};
use crate::verify::{VerifyError, behind, effective_now};
use ir::Value;
use serde_json::json;
use std::fmt::Write;
use std::time::Duration;

/// Everything there is to say.
#[derive(Debug)]
pub struct Status {
    now: Millis,
    /// How far the clock is behind what the server said, where it cannot be right.
    pub clock_behind: Option<Millis>,
    identity: Option<Identity>,
    last_answer: Option<Millis>,
    interval: Millis,
    refusal: Option<String>,
    turned_away: Option<String>,
    pause: Option<Pause>,
    separation: Option<Separation>,
    crashes: Crashes,
    bundle: Option<Bundle>,
    problem: Option<VerifyError>,
    past: Vec<Past>,
    waiting: u64,
    oldest: Option<Millis>,
    dropped: u64,
    traits: usize,
    traits_oldest: Option<Millis>,
    triggers: Vec<String>,
}

#[derive(Debug)]
struct Bundle {
    release: u64,
    seq: u64,
    root: String,
    policy_version: String,
    modules: usize,
    expires_at: Millis,
}

/// As monitoring plugins answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// 0
    Ok,
    /// 1
    Warning,
    /// 2
    Critical,
    /// 3
    Unknown,
}

impl Agent {
    /// Looks; changes nothing.
    pub fn status(&self) -> Result<Status, AgentError> {
        let now = self.clock().now();
        let mut status = Status {
            now,
            clock_behind: None,
            identity: None,
            last_answer: None,
            interval: 300_000,
            refusal: None,
            turned_away: None,
            pause: None,
            separation: None,
            crashes: Crashes::default(),
            bundle: None,
            problem: None,
            past: Vec::new(),
            waiting: 0,
            oldest: None,
            dropped: 0,
            traits: 0,
            traits_oldest: None,
            triggers: Vec::new(),
        };
        let identity = match Identity::load(self.state()) {
            Ok(identity) => Some(identity),
            Err(IdentityError::NotEnrolled) => None,
            Err(other) => return Err(other.into()),
        };
        let Some(store) = Store::look(self.state())? else {
            status.identity = identity;
            return Ok(status);
        };
        let contact = store.contact()?;
        status.last_answer = (contact.at > 0).then_some(contact.at);
        if contact.interval > 0 {
            status.interval = contact.interval.into();
        }
        (status.refusal, status.turned_away) = (contact.refusal, contact.turned_away);
        status.pause = store.pause(now)?;
        status.separation = store.separation()?;
        status.crashes = store.crashes()?;
        status.past = store.past()?;
        let queue = store.queue()?;
        (status.waiting, status.oldest, status.dropped) = (queue.waiting, queue.oldest, queue.dropped);
        let traits = store.traits()?;
        status.traits = traits.iter().map(|c| leaves(&c.value)).sum();
        status.traits_oldest = traits.iter().map(|c| c.at).min();
        status.triggers = store.triggers()?.into_iter().collect();
        if let Some(identity) = &identity {
            let conversation = Conversation { identity, store: &store, clock: self.clock() };
            status.problem = conversation.inspect()?.err();
            status.bundle = conversation.held_bundle()?.map(|v| Bundle {
                release: v.manifest.release_serial,
                seq: v.manifest.seq,
                root: v.manifest.merkle_root.to_string(),
                policy_version: v.manifest.policy_version,
                modules: v.manifest.modules.len(),
                expires_at: v.lease.expires_at,
            });
            let floor = store.marks()?.time_floor;
            status.now = effective_now(now, floor);
            status.clock_behind = behind(now, floor);
        }
        status.identity = identity;
        Ok(status)
    }
}

fn leaves(value: &Value) -> usize {
    match value {
        Value::Map(map) => map.values().map(leaves).sum(),
        _ => 1,
    }
}

impl Status {
    /// The last run that looked at everything: one with `--only` says nothing about the host.
    fn last_whole_run(&self) -> Option<&Past> {
        self.past.iter().find(|run| run.only.is_none())
    }

    /// For how long still, and why.
    pub fn paused(&self) -> Option<String> {
        self.pause.as_ref().map(|pause| pause.human(self.now))
    }

    /// That the bundle which is held is left alone, because the agent did not survive it.
    fn quarantine(&self) -> Option<String> {
        let until = self.crashes.until(self.bundle.as_ref()?.seq, self.now)?;
        let (count, wait) = (self.crashes.count, span(until.saturating_sub(self.now)));
        Some(format!(
            "the agent did not survive it, {count} times in a row; it is tried again in {wait}, the next release at once"
        ))
    }

    /// That the server does not let this host in, in its words, and what gets the host back.
    pub fn turned_away(&self) -> Option<String> {
        let (said, identity) = (self.turned_away.as_ref()?, self.identity.as_ref()?);
        let hash = identity.ca_der().and_then(|der| protocol::ca_hash(&der));
        let hash = hash.map_or_else(|| "HASH".to_owned(), |hash| hash.to_string());
        Some(format!(
            "the server does not let this host in: {said} (`vigo enroll --force --server {} --ca-hash {hash} --hostname {} --token TOKEN`)",
            identity.server, identity.hostname
        ))
    }

    /// Who speaks with the server, if an agent stayed here yet; what is wrong with that.
    pub fn privileges(&self) -> Option<Result<String, String>> {
        self.separation.as_ref().map(Separation::describe)
    }

    /// What the last run that looked at everything came to; what was wrong with it.
    pub fn last_run_is_good(&self) -> Result<String, String> {
        match self.last_whole_run() {
            Some(run) if run.totals.failed > 0 => {
                let failed = run.totals.failed;
                let resources = if failed == 1 { "resource" } else { "resources" };
                Err(format!("{failed} {resources} failed in the last run"))
            }
            Some(run) if run.interrupted => Err("the last run was interrupted".to_owned()),
            Some(run) => Ok(format!("{} ok, {} changed in the last run", run.totals.ok, run.totals.changed)),
            None => Ok("none yet".to_owned()),
        }
    }

    /// One word for monitoring, and why.
    pub fn health(&self) -> (Health, String) {
        let Some(_) = &self.identity else { return (Health::Unknown, "not enrolled".to_owned()) };
        // Whatever else is wrong follows from it, or soon will.
        if let Some(turned_away) = self.turned_away() {
            return (Health::Critical, turned_away);
        }
        if let Some(problem) = &self.problem {
            return (Health::Critical, format!("not converging: {problem}"));
        }
        if let Some(quarantine) = self.quarantine() {
            return (Health::Critical, format!("not converging: {quarantine}"));
        }
        if let Some(pause) = self.paused() {
            return (Health::Warning, format!("paused for {pause}"));
        }
        if let Err(why) = self.last_run_is_good() {
            return (Health::Warning, why);
        }
        if let Some(behind) = self.clock_behind {
            let why = format!("clock_untrusted: the clock is {} behind what the server said", span(behind));
            return (Health::Warning, why);
        }
        if self.renewal_is_late() {
            let end = self.certificate_end().unwrap_or(0);
            return match end.checked_sub(self.now) {
                Some(left) => {
                    (Health::Warning, format!("the certificate ends in {} and is not renewed", span(left)))
                }
                None => (Health::Warning, format!("the certificate ended {} ago", span(self.now - end))),
            };
        }
        let silent = self.now.saturating_sub(self.last_answer.unwrap_or(0));
        if silent > self.interval * 5 / 2 {
            return (Health::Warning, format!("no answer from the server for {}", span(silent)));
        }
        match self.last_whole_run() {
            Some(run) => (Health::Ok, format!("{} ok, {} changed", run.totals.ok, run.totals.changed)),
            None => (Health::Unknown, "no run yet".to_owned()),
        }
    }

    /// For people.
    pub fn human(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, text: String| {
            // Writing to a string does not fail.
            let _ = writeln!(out, "{name:<12}{text}");
        };
        let ago = |at: Millis| format!("{} ago", span(self.now.saturating_sub(at)));
        let Some(identity) = &self.identity else {
            line("envoy", IdentityError::NotEnrolled.to_string());
            return out;
        };
        line(
            "envoy",
            format!("{}  {}   enrolled {}", identity.hostname, identity.envoy_id, date(identity.enrolled_at)),
        );
        let answer = self
            .last_answer
            .map_or_else(|| "no answer yet".to_owned(), |at| format!("last answer {}", ago(at)));
        line("server", format!("{}   {answer}", identity.server));
        if let Some(turned_away) = self.turned_away() {
            line("", format!("TURNED AWAY: {turned_away}"));
        }
        line("certificate", self.certificate());
        match self.privileges() {
            Some(Ok(how)) => line("privileges", how),
            Some(Err(why)) => line("privileges", format!("TOO MANY: {why}")),
            None => {}
        }
        if let Some(refusal) = &self.refusal {
            line("", format!("it has no policy for this host: {refusal}"));
        }
        line("policy", self.policy());
        if let Some(quarantine) = self.quarantine() {
            line("", format!("QUARANTINED: {quarantine}"));
        }
        if let Some(pause) = self.paused() {
            line("", format!("PAUSED for {pause}; `vigo resume` ends it"));
        }
        match self.last_whole_run() {
            None => line("last run", "none yet".to_owned()),
            Some(run) if run.interrupted => line("last run", format!("{}: interrupted", ago(run.at))),
            Some(run) => {
                let t = run.totals;
                line(
                    "last run",
                    format!(
                        "{}: {} ok, {} changed, {} failed, {} skipped   {}{}",
                        ago(run.at),
                        t.ok,
                        t.changed,
                        t.failed,
                        t.skipped,
                        took(Duration::from_millis(run.took)),
                        if run.offline { "   from the cache" } else { "" }
                    ),
                );
            }
        }
        let later = self.past.iter().take_while(|run| run.only.is_some());
        if let Some((run, only)) = later.filter_map(|run| Some((run, run.only.as_ref()?))).next() {
            line("", format!("{}: {} alone, by hand", ago(run.at), printable(only)));
        }
        let oldest = match self.oldest.filter(|at| *at > 0) {
            Some(at) => format!(" (oldest {})", span(self.now.saturating_sub(at))),
            None => String::new(),
        };
        let lost = match self.dropped {
            0 if self.waiting > 0 => ", none lost".to_owned(),
            0 => String::new(),
            n => format!(", {n} lost for lack of room"),
        };
        line("results", format!("{} waiting{oldest}{lost}", self.waiting));
        if !self.triggers.is_empty() {
            line("triggers", format!("due in the next run: {}", self.triggers.join(", ")));
        }
        let age = self.traits_oldest.map(|at| format!(", oldest {}", span(self.now.saturating_sub(at))));
        line("traits", format!("{} cached{}", self.traits, age.unwrap_or_default()));
        out
    }

    fn certificate(&self) -> String {
        let Some(end) = self.certificate_end() else { return "DOES NOT READ".to_owned() };
        if end < self.now {
            return format!(
                "ENDED {} ago; make a token on the server, then `vigo enroll --rejoin --token TOKEN`",
                span(self.now - end)
            );
        }
        format!("good until {}, {} more", date(end), span(end - self.now))
    }

    fn certificate_end(&self) -> Option<Millis> {
        Some(self.identity.as_ref()?.certificate()?.not_after)
    }

    /// Whether the certificate is older than any agent lets it grow that gets an answer to its renewals.
    fn renewal_is_late(&self) -> bool {
        let certificate = self.identity.as_ref().and_then(Identity::certificate);
        certificate.is_some_and(|c| {
            let life = c.not_after.saturating_sub(c.not_before);
            self.now > c.not_before.saturating_add(life / 10 * 9)
        })
    }

    fn policy(&self) -> String {
        let Some(bundle) = &self.bundle else {
            return match &self.problem {
                Some(VerifyError::NoBundle) | None => "none yet: waiting for the server".to_owned(),
                Some(problem) => format!("NOT USABLE: {problem}; waiting for the server"),
            };
        };
        let root = bundle.root.get(..8).unwrap_or_default();
        let what = format!("release {}, bundle {} (root {root})", bundle.release, bundle.seq);
        match &self.problem {
            None if bundle.expires_at == 0 => format!("{what}, valid without limit"),
            None => format!("{what}, valid for {} more", span(bundle.expires_at.saturating_sub(self.now))),
            Some(VerifyError::Expired { expired_at, now }) => format!(
                "{what}  EXPIRED {} ago: not converging, waiting for the server",
                span(now.saturating_sub(*expired_at))
            ),
            Some(problem) => format!("{what}  NOT USABLE: {problem}"),
        }
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        let run = |p: &Past| {
            json!({
                "run_id": p.run_id, "started_at": p.at, "duration_ms": p.took, "totals": p.totals,
                "offline": p.offline, "interrupted": p.interrupted, "only": p.only,
            })
        };
        let identity = self.identity.as_ref();
        json!({
            "format_version": "1.0",
            "command": "status",
            "tool_version": env!("CARGO_PKG_VERSION"),
            "enrolled": identity.is_some(),
            "clock_untrusted": self.clock_behind.is_some(),
            "envoy": identity.map(|i| json!({
                "hostname": i.hostname, "id": i.envoy_id, "cluster_id": i.cluster_id, "enrolled_at": i.enrolled_at,
            })),
            "server": identity.map(|i| json!({
                "address": i.server, "last_answer": self.last_answer, "check_in_interval_ms": self.interval,
                "refusal": self.refusal, "turned_away": self.turned_away,
            })),
            "certificate": identity.and_then(Identity::certificate).map(|c| json!({
                "serial": c.serial, "not_before": c.not_before, "expires_at": c.not_after,
            })),
            "bundle": self.bundle.as_ref().map(|b| json!({
                "release": b.release, "seq": b.seq, "root": b.root, "policy_version": b.policy_version,
                "modules": b.modules, "expires_at": (b.expires_at > 0).then_some(b.expires_at),
                "valid_for_ms": (b.expires_at > 0).then(|| b.expires_at.saturating_sub(self.now)),
            })),
            "converging": identity.is_some()
                && self.problem.is_none()
                && self.pause.is_none()
                && self.quarantine().is_none(),
            "privileges": self.separation,
            "crashes": { "bundle": self.crashes.seq, "in_a_row": self.crashes.count, "last": self.crashes.at },
            "paused": self.pause.as_ref().map(|p| json!({ "since": p.since, "until": p.until, "reason": p.reason })),
            "problem": self.problem.as_ref().map(ToString::to_string),
            "runs": self.past.iter().map(run).collect::<Vec<_>>(),
            "results": { "waiting": self.waiting, "oldest": self.oldest, "dropped": self.dropped },
            "triggers": self.triggers,
            "traits": { "cached": self.traits, "oldest": self.traits_oldest },
            "health": format!("{:?}", self.health().0).to_lowercase(),
        })
    }
}

/// The day, in UTC.
fn date(at: Millis) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at).unwrap_or(i64::MAX)).unwrap_or_default();
    at.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}
