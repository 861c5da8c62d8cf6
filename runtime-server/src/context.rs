//! The parts of a running server that its requests share.

use crate::assign::Assignments;
use crate::catalog::{Candidate, Catalog, Reach};
use crate::clock::Clock;
use crate::config::CheckIn;
use crate::dispatch::Dispatch;
use crate::fleet::FleetIndex;
use crate::live_key::KeyRing;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::pki::Ca;
use crate::policy::{Checked, PolicyError};
use crate::secrets::Secrets;
use crate::store::releases::{self, NewRelease};
use crate::store::{Store, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The parts.
#[derive(Debug)]
pub struct Context {
    /// UUID.
    pub cluster_id: String,
    /// Intervals and lease times.
    pub checkin: CheckIn,
    /// The time.
    pub clock: Clock,
    /// Issues certificates.
    pub ca: Ca,
    /// When the certificates that `vigosrv init` made end: whose it is, and milliseconds since 1970-01-01 UTC.
    pub own_certificates: Vec<(&'static str, u64)>,
    /// How long those of envoys are good.
    pub envoy_lifetime: Duration,
    /// Signs.
    pub keys: KeyRing,
    /// All envoys.
    pub fleet: FleetIndex,
    /// What is served.
    pub catalog: Catalog,
    /// Numbers of bundles on their way to the store.
    pub assignments: Assignments,
    /// How busy it all is.
    pub pace: Pace,
    /// Secrets.
    pub secrets: Secrets,
    /// What survives.
    pub store: Store,
    /// Work for envoys that are there.
    pub dispatch: Dispatch,
    /// What is counted.
    pub metrics: Metrics,
    /// The last attempt to publish was refused, or failed.
    pub refused: AtomicBool,
}

/// What reloading the policy came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// Nothing changed.
    Unchanged,
    /// A new release is served.
    Published {
        /// Its number.
        serial: u64,
        /// Files that changed.
        changed: Vec<String>,
        /// What checking found.
        checked: Checked,
        /// What it did to the fleet.
        reach: Reach,
        /// From reading the policy to serving it, the roots of all known envoys included.
        took: Duration,
    },
    /// The policy has errors; what was served is still served.
    Refused {
        /// What checking found.
        checked: Checked,
        /// Files that changed.
        changed: Vec<String>,
    },
}

/// Why the policy could not be reloaded.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It cannot be read.
    #[error("cannot read the policy: {0}")]
    Policy(#[from] PolicyError),
    /// The release cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing is published before then: milliseconds since 1970-01-01 UTC.
    #[error("publishing is frozen; what was served is still served")]
    Frozen(u64),
    /// Somebody keeps writing to it.
    #[error("the policy kept changing while it was published")]
    Restless,
    /// A bug; the log has the panic.
    #[error("the compiler crashed")]
    Crashed,
}

/// How long before its end a certificate of the server's own is warned about.
const WARNED_FOR: Duration = Duration::from_secs(60 * 86_400);

impl Context {
    /// Certificates of the server's own that end soon or have ended, and what is left of each.
    pub fn ending_certificates(&self) -> Vec<(&'static str, Duration)> {
        let now = self.clock.now();
        let left =
            |(name, end): &(&'static str, u64)| (*name, Duration::from_millis(end.saturating_sub(now)));
        self.own_certificates.iter().map(left).filter(|(_, left)| *left < WARNED_FOR).collect()
    }

    /// Whether what is served is older than the policy, because that has errors or could not be read.
    pub fn publish_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Takes in what changed in the policy and serves it, if it has no errors.
    pub async fn reload(self: &Arc<Self>) -> Result<Reloaded, ReloadError> {
        let reloaded = self.take_in().await;
        // While publishing is frozen, what is served is meant to be older.
        let refused = match &reloaded {
            Ok(Reloaded::Refused { .. }) => true,
            Err(e) => !matches!(e, ReloadError::Frozen(_)),
            Ok(_) => false,
        };
        self.refused.store(refused, Ordering::Relaxed);
        reloaded
    }

    async fn take_in(self: &Arc<Self>) -> Result<Reloaded, ReloadError> {
        let (this, begin) = (self.clone(), Instant::now());
        let candidate = tokio::task::spawn_blocking(move || this.catalog.prepare())
            .await
            .map_err(|_| ReloadError::Crashed)??;
        let (checked, changed, digest) = match candidate {
            Candidate::Unchanged => return Ok(Reloaded::Unchanged),
            Candidate::Refused { checked, changed } => return Ok(Reloaded::Refused { checked, changed }),
            Candidate::Ready { checked, changed, digest } => (checked, changed, digest),
        };
        let now = self.clock.now();
        let release = NewRelease { digest, ..NewRelease::default() };
        let published = self.store.call(move |conn| releases::publish(conn, &release, now)).await?;
        let serial = published.map_err(|freeze| ReloadError::Frozen(freeze.until))?.serial();
        let this = self.clone();
        let served = tokio::task::spawn_blocking(move || {
            let envoys = this.fleet.active();
            this.catalog.serve(serial, digest, &envoys).map(|reach| (reach, begin.elapsed()))
        });
        let served = served.await.map_err(|_| ReloadError::Crashed)?;
        let (reach, took) = served.ok_or(ReloadError::Restless)?;
        // Nobody waits for it, but the next change, which it makes quick.
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.catalog.catch_up(&this.fleet.active()));
        Ok(Reloaded::Published { serial, changed, checked, reach, took })
    }
}
