//! A pause: the host stays as it is for a while. The agent goes on to speak to its server and to run tasks.

use crate::agent::{Agent, AgentError};
use crate::clock::Millis;
use crate::identity::{Identity, IdentityError};
use crate::store::Store;
use crate::text::{bounded, printable, span};
use std::time::Duration;

/// Nobody remembers a pause that is longer.
pub const LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// Bytes of a reason.
const MOST_REASON: usize = 500;

/// Until when, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pause {
    /// When it was made.
    pub since: Millis,
    /// When it ends by itself.
    pub until: Millis,
    /// For whoever wonders.
    pub reason: String,
}

impl Pause {
    /// For people.
    pub fn human(&self, now: Millis) -> String {
        format!("{} more: {}", span(self.until.saturating_sub(now)), printable(&self.reason))
    }
}

impl Agent {
    /// Pauses convergence from now on; the pause before, if there is one, is replaced. A run that is under way ends as usual.
    pub fn pause(&self, time: Duration, reason: &str) -> Result<Pause, AgentError> {
        let store = self.enrolled_store()?;
        let since = self.clock().now();
        let time = u64::try_from(time.min(LONGEST).as_millis()).unwrap_or(u64::MAX);
        let reason = bounded(reason.trim(), MOST_REASON).to_owned();
        let pause = Pause { since, until: since.saturating_add(time), reason };
        store.keep_pause(Some(&pause))?;
        Ok(pause)
    }

    /// Ends the pause; whether there was one.
    pub fn resume(&self) -> Result<bool, AgentError> {
        let store = self.enrolled_store()?;
        let paused = store.pause(self.clock().now())?.is_some();
        store.keep_pause(None)?;
        Ok(paused)
    }

    /// The store of an enrolled host, without a lock: every change is a transaction of its own.
    fn enrolled_store(&self) -> Result<Store, AgentError> {
        Identity::load(self.state())?;
        Ok(Store::look(self.state())?.ok_or(IdentityError::NotEnrolled)?)
    }
}
