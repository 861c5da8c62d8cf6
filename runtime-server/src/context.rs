//! The parts of a running server that its requests share.

use crate::assign::Assignments;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::CheckIn;
use crate::dispatch::Dispatch;
use crate::fleet::FleetIndex;
use crate::live_key::KeyRing;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::pki::Ca;
use crate::publish::Publishing;
use crate::secrets::Secrets;
use crate::secrets::acl::Rules;
use crate::store::Store;
use std::time::Duration;

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
    /// Who may have which of them.
    pub secret_rules: Rules,
    /// What survives.
    pub store: Store,
    /// Work for envoys that are there.
    pub dispatch: Dispatch,
    /// What is counted.
    pub metrics: Metrics,
    /// What publishing remembers.
    pub publishing: Publishing,
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
}
