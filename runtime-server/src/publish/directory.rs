//! Publishing what lies in the policy directory of this server, when that is news.

use super::{Outcome, PublishError, Wish, blocking};
use crate::context::Context;
use crate::difference::{self, FileChange};
use crate::policy::Checked;
use crate::reach::Reach;
use crate::store::{lock, releases};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Why the directory is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The server starts: what was a release once is no news, so that going back to an older release holds.
    Start,
    /// Something may have changed: what was taken in already is no news.
    Changed,
    /// Somebody wants what lies there to be served.
    Asked,
}

/// What became of what lies in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// Nothing changed.
    Unchanged,
    /// There is no policy.
    Nothing,
    /// It is an older release's, and stays that.
    Kept {
        /// The latest release that has it.
        directory: u64,
        /// The latest release.
        latest: u64,
    },
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
        /// Files that differ from what is served.
        changed: Vec<String>,
    },
}

impl Context {
    /// Whether the directory could not be taken in, for another reason than what is in it.
    pub fn publish_failed(&self) -> bool {
        self.publishing.failed.load(Ordering::Relaxed)
    }

    /// Takes in what lies in the directory and serves it, if it is news and has no errors.
    pub async fn reload(self: &Arc<Self>, look: Look) -> Result<Reloaded, PublishError> {
        let reloaded = self.look(look).await;
        // While publishing is frozen, what is served is meant to be older.
        let failed = matches!(&reloaded, Err(e) if !matches!(e, PublishError::Frozen(_)));
        self.publishing.failed.store(failed, Ordering::Relaxed);
        reloaded
    }

    async fn look(self: &Arc<Self>, look: Look) -> Result<Reloaded, PublishError> {
        let this = self.clone();
        let Some(tree) = blocking(move || this.catalog.read()).await?? else { return Ok(Reloaded::Nothing) };
        let digest = tree.digest();
        if look == Look::Changed && *lock(&self.publishing.seen) == Some(digest) {
            return Ok(Reloaded::Unchanged);
        }
        if look == Look::Start {
            if let Err(e) = self.follow().await {
                tracing::error!(error = %e, "cannot serve the latest release");
            }
            let known = self
                .store
                .read(move |conn| Ok((releases::with_digest(conn, digest)?, releases::latest(conn)?)))
                .await?;
            if let (Some(directory), Some(latest)) = known {
                let served = self.catalog.release().is_some_and(|release| release.serial == latest.serial);
                *lock(&self.publishing.seen) = Some(digest);
                if directory != latest.serial {
                    return Ok(Reloaded::Kept { directory, latest: latest.serial });
                }
                // Should it be damaged in the store, here are its files.
                if served {
                    return Ok(Reloaded::Unchanged);
                }
            }
        }
        let serial = self.catalog.release().map(|r| r.serial);
        let before = serial.and_then(|serial| self.catalog.tree(serial));
        let outcome = self.publish(Wish::new(tree.clone())).await;
        if matches!(outcome, Ok(_) | Err(PublishError::Refused(_))) {
            *lock(&self.publishing.seen) = Some(digest);
        }
        let paths = |changes: Vec<FileChange>| changes.into_iter().map(|change| change.path).collect();
        match outcome {
            Ok(Outcome::Published { serial, plan, checked, took }) => {
                let changed = if plan.base.is_none() { Vec::new() } else { paths(plan.changes) };
                Ok(Reloaded::Published { serial, changed, checked, reach: plan.reach, took })
            }
            Ok(_) => Ok(Reloaded::Unchanged),
            // A secret may be there the next time, so what names it is looked at again.
            Err(PublishError::Refused(checked) | PublishError::Secrets(checked)) => {
                let changed = before.map(|before| paths(difference::changes(Some(&before), &tree)));
                Ok(Reloaded::Refused { checked: *checked, changed: changed.unwrap_or_default() })
            }
            Err(e) => Err(e),
        }
    }
}
