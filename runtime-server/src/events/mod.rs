//! Telling somebody else what happens to the fleet: an envoy's status changed, a release was published or refused.
//!
//! Nothing of this is on the way of a check-in. One server of the cluster looks at the fleet every few seconds, as the
//! dashboard does, and compares it with what was told last; the difference is written down together with what is told then, so
//! a restart neither loses nor repeats it. What was written down is sent in order until it is taken.

mod webhook;

pub use webhook::{SendError, Webhook, WebhookError, signature};

use crate::http::Site;
use crate::metrics::Sent;
use crate::status::{Compliance, Drift, Health, Reachability, Status};
use crate::store::events::{self, MOST, NewEvent, News, Words};
use crate::store::{StoreError, releases};
use backon::{BackoffBuilder, ExponentialBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// How long a server that watches and sends may be silent before another one takes over. Milliseconds.
const LEAD_MS: u64 = 60_000;
/// How often somebody looks whether there is something to send.
const GLANCE: Duration = Duration::from_secs(2);
/// Between two attempts: the first and the longest pause.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// Releases that one look tells of.
const RELEASES: u32 = 100;

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Events are posted there.
    pub url: String,
    /// Signs them.
    pub secret_file: Option<PathBuf>,
    /// CAs to trust, in PEM; without it, those of the system.
    pub ca_file: Option<PathBuf>,
    /// From the request to the end of the answer.
    pub timeout: Duration,
    /// How often the fleet is looked at. Not in the file.
    pub look: Duration,
}

/// Something that happened. It may come more than once, always with the same `id`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Of this document: `1.0`. Fields are added, none changes its meaning.
    pub format_version: String,
    /// UUIDv7; also in the header `idempotency-key`.
    pub id: String,
    /// When it was noticed: milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// Which cluster it is.
    pub cluster_id: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
pub enum What {
    /// An envoy is in another state on one of the axes. Of several changes between two looks, the last one is told.
    #[serde(rename = "envoy.status")]
    EnvoyStatus {
        /// Which one.
        envoy: Who,
        /// What was told before; null for a new envoy.
        before: Option<Status>,
        /// What it is now.
        after: Status,
    },
    /// There is a new release.
    #[serde(rename = "release.published")]
    ReleasePublished {
        /// The release.
        release: Release,
    },
    /// A policy has errors and was not published; the release before is served.
    #[serde(rename = "release.refused")]
    ReleaseRefused {
        /// The policy.
        refused: Refused,
    },
    /// Events found no room because the receiver took none, and will not come.
    #[serde(rename = "events.dropped")]
    EventsDropped {
        /// Which ones.
        dropped: Dropped,
    },
}

/// An envoy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Who {
    /// UUID.
    pub id: String,
    /// Its host name.
    pub hostname: String,
    /// Its environment; null when it has none, or when the policy does not know the envoy yet.
    pub environment: Option<String>,
}

/// A release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Release {
    /// Its number.
    pub serial: u64,
    /// When it was published.
    pub published_at: u64,
    /// Of its files.
    pub digest: String,
    /// Who published it; empty for a watched directory.
    pub author: String,
    /// Why, in the words of whoever published it.
    pub message: String,
}

/// A policy that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// When.
    pub at: u64,
    /// Of its files.
    pub digest: String,
}

/// Events that will not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dropped {
    /// How many.
    pub count: u64,
    /// When the first of them was noticed.
    pub from: u64,
    /// When the last of them was noticed.
    pub to: u64,
}

/// Watches and sends, while no other server of the cluster does.
pub struct Teller {
    site: Arc<Site>,
    webhook: Arc<Webhook>,
    settings: WebhookSettings,
    instance: String,
    written: Notify,
}

impl std::fmt::Debug for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Teller").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What was told, as far as this server knows.
#[derive(Debug, Default)]
struct Memory {
    /// Good until then, because no other server tells anything before.
    until: u64,
    release: u64,
    refused_at: u64,
    statuses: HashMap<String, Status>,
}

impl Teller {
    /// Nothing is looked at or sent before [`Teller::run`].
    pub fn new(site: Arc<Site>, settings: WebhookSettings) -> Result<Self, WebhookError> {
        let webhook = Arc::new(Webhook::new(settings.clone())?);
        Ok(Teller { site, webhook, settings, instance: Uuid::now_v7().to_string(), written: Notify::new() })
    }

    /// Until `stop` turns true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.watch() => {}
            () = self.send() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        let instance = self.instance;
        let stepped = self.site.context.store.call(move |conn| events::step_down(conn, &instance)).await;
        if let Err(e) = stepped {
            tracing::warn!(error = %e, "another server begins to send events only when this one was silent for a while");
        }
    }

    fn now(&self) -> u64 {
        self.site.context.clock.now()
    }

    fn timeout_ms(&self) -> u64 {
        u64::try_from(self.settings.timeout.as_millis()).unwrap_or(LEAD_MS)
    }

    async fn watch(&self) {
        let mut memory = None;
        loop {
            if let Err(e) = self.look(&mut memory).await {
                memory = None;
                tracing::error!(error = %e, "cannot look for events; will try again");
            }
            tokio::time::sleep(self.settings.look).await;
        }
    }

    async fn look(&self, memory: &mut Option<Memory>) -> Result<(), StoreError> {
        let context = &self.site.context;
        let (instance, now) = (self.instance.clone(), self.now());
        let until = now.saturating_add(LEAD_MS).saturating_add(self.timeout_ms());
        let leads = context.store.call(move |conn| events::lead(conn, &instance, now, until)).await?;
        if !leads {
            *memory = None;
            return Ok(());
        }
        // After a long pause another server may have told something meanwhile.
        let mut known = memory.take().filter(|known| known.until > now);
        if known.is_none() {
            known = context.store.read(events::told).await?.map(|told| Memory {
                until,
                release: told.release,
                refused_at: told.refused_at,
                statuses: told
                    .statuses
                    .into_iter()
                    .filter_map(|(id, words)| Some((id, status(&words)?)))
                    .collect(),
            });
        }
        let first = known.is_none();
        let mut known = known.unwrap_or_default();
        known.until = until;
        let news = self.news(&mut known, first).await?;
        if first || !news.events.is_empty() || !news.statuses.is_empty() {
            let (instance, cluster) = (self.instance.clone(), context.cluster_id.clone());
            let dropped = move |count, from, to| {
                let what = What::EventsDropped { dropped: Dropped { count, from, to } };
                event(&cluster, now, what)
            };
            let tell = move |conn: &mut _| events::tell(conn, &instance, &news, MOST, &dropped);
            match context.store.call(tell).await? {
                Some(0) => {}
                Some(count) => {
                    context.metrics.events(Sent::Dropped, count);
                    tracing::error!(count, "events were dropped: the webhook takes none, and too many wait");
                }
                None => return Ok(()),
            }
            self.written.notify_one();
        }
        *memory = Some(known);
        Ok(())
    }

    /// What is there now and was not told; `known` is what is told then.
    async fn news(&self, known: &mut Memory, first: bool) -> Result<News, StoreError> {
        let (context, now) = (&self.site.context, self.now());
        let survey = match self.site.survey().await {
            Ok(survey) => survey,
            // It has said why.
            Err(_) => return Err(StoreError::Closed),
        };
        let look = |conn: &mut _| Ok((releases::list(conn, None, RELEASES)?, releases::refused(conn)?));
        let (published, refused) = context.store.read(look).await?;
        let mut found = Vec::new();
        for release in published.iter().rev().filter(|release| release.serial > known.release) {
            found.push(What::ReleasePublished {
                release: Release {
                    serial: release.serial,
                    published_at: release.published_at,
                    digest: release.digest.to_string(),
                    author: release.author.clone(),
                    message: release.message.clone(),
                },
            });
        }
        if let Some(refused) = refused.as_ref().filter(|refused| refused.at > known.refused_at) {
            let refused = Refused { at: refused.at, digest: refused.digest.to_string() };
            found.push(What::ReleaseRefused { refused });
        }
        known.release = published.iter().map(|r| r.serial).max().unwrap_or(0).max(known.release);
        known.refused_at = refused.map_or(0, |r| r.at).max(known.refused_at);
        let mut statuses = Vec::new();
        for surveyed in &survey.envoys {
            let (envoy, after) = (&surveyed.envoy, surveyed.status);
            let before = known.statuses.insert(envoy.id.clone(), after);
            if before == Some(after) {
                continue;
            }
            statuses.push((envoy.id.clone(), words(after)));
            let environment = surveyed.place.as_ref().and_then(|place| place.environment.clone());
            let who = Who { id: envoy.id.clone(), hostname: envoy.hostname.clone(), environment };
            found.push(What::EnvoyStatus { envoy: who, before, after });
        }
        // Envoys that lost their place; their rows go with them.
        if known.statuses.len() > survey.envoys.len() {
            let there: std::collections::HashSet<&str> =
                survey.envoys.iter().map(|s| s.envoy.id.as_str()).collect();
            known.statuses.retain(|id, _| there.contains(id.as_str()));
        }
        // When somebody begins to listen, how things are is no news.
        if first {
            found.clear();
        }
        let events = found.into_iter().map(|what| event(&context.cluster_id, now, what)).collect();
        Ok(News { events, release: known.release, refused_at: known.refused_at, statuses })
    }

    async fn send(&self) {
        let pauses = || {
            let (least, most) = PAUSES;
            let pauses =
                ExponentialBuilder::default().with_min_delay(least).with_max_delay(most).with_jitter();
            pauses.without_max_times().build()
        };
        let mut pause = pauses();
        loop {
            match self.send_one().await {
                Ok(true) => pause = pauses(),
                Ok(false) => {
                    // Nothing there, or another server sends it.
                    let _ = tokio::time::timeout(GLANCE, self.written.notified()).await;
                }
                Err(()) => tokio::time::sleep(pause.next().unwrap_or(PAUSES.1)).await,
            }
        }
    }

    /// Whether there was one and it was taken. What went wrong was said.
    async fn send_one(&self) -> Result<bool, ()> {
        let context = &self.site.context;
        let (instance, now) = (self.instance.clone(), self.now());
        // Another server must not begin to send while this one waits for an answer.
        let until = now.saturating_add(self.timeout_ms());
        let failed =
            |e: StoreError| tracing::error!(error = %e, "cannot look for events to send; will try again");
        let next =
            context.store.read(move |conn| events::oldest(conn, &instance, until)).await.map_err(failed)?;
        let Some(next) = next else { return Ok(false) };
        let (webhook, sent) = (self.webhook.clone(), next.clone());
        let answered = tokio::task::spawn_blocking(move || webhook.send(&sent, now)).await;
        match answered {
            Ok(Ok(())) => {
                context.metrics.events(Sent::Taken, 1);
                context.store.call(move |conn| events::taken(conn, &next)).await.map_err(failed)?;
                Ok(true)
            }
            Ok(Err(e)) => {
                context.metrics.events(Sent::Failed, 1);
                tracing::warn!(event = next.id, error = %e, "the webhook did not take an event; will try again");
                Err(())
            }
            Err(_) => {
                tracing::error!("sending an event crashed; will try again");
                Err(())
            }
        }
    }
}

fn event(cluster_id: &str, at: u64, what: What) -> NewEvent {
    let id = Uuid::now_v7().to_string();
    let event = Event {
        format_version: "1.0".to_owned(),
        id: id.clone(),
        at,
        cluster_id: cluster_id.to_owned(),
        what,
    };
    NewEvent { id, at, body: serde_json::to_string(&event).unwrap_or_default() }
}

fn words(status: Status) -> Words {
    let Status { health, drift, reachability, compliance } = status;
    [health.to_string(), drift.to_string(), reachability.to_string(), compliance.to_string()]
}

fn status([health, drift, reachability, compliance]: &Words) -> Option<Status> {
    fn one<T: Copy + ToString>(all: &[T], word: &str) -> Option<T> {
        all.iter().find(|value| value.to_string() == word).copied()
    }
    Some(Status {
        health: one(Health::ALL, health)?,
        drift: one(Drift::ALL, drift)?,
        reachability: one(Reachability::ALL, reachability)?,
        compliance: one(Compliance::ALL, compliance)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_comes_back_from_its_words() {
        for health in Health::ALL {
            for drift in Drift::ALL {
                for (reachability, compliance) in Reachability::ALL.iter().zip(Compliance::ALL) {
                    let (health, drift) = (*health, *drift);
                    let whole =
                        Status { health, drift, reachability: *reachability, compliance: *compliance };
                    assert_eq!(status(&words(whole)), Some(whole));
                }
            }
        }
        assert_eq!(status(&["converged", "none", "online", "fine"].map(str::to_owned)), None);
    }
}
