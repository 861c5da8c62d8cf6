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
use crate::store::Store;

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
    /// What publishing remembers.
    pub publishing: Publishing,
}
