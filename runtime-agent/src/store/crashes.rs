//! Bundles that the agent does not survive.
//!
//! A run that never ends is on record as begun. When the same bundle ends the agent several times in a row, it is left alone for a
//! while that grows: the host stays as it is, the agent goes on to speak to its server, and the next bundle is taken at once.

use super::{Store, StoreError, forget, put_json, take_json};
use crate::clock::Millis;
use redb::WriteTransaction;

/// Runs in a row that end with the agent before a bundle is left alone. A host that loses its power does so once.
const PATIENCE: u32 = 3;
/// How long it is left alone first; twice as long after each further run.
const FIRST: Millis = 600_000;
const LONGEST: Millis = 86_400_000;

/// Runs of one bundle that ended with the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Crashes {
    /// The bundle.
    pub seq: u64,
    /// Without one in between that ended well.
    pub count: u32,
    /// When the last of them began.
    pub at: Millis,
}

impl Crashes {
    /// Until when the bundle is left alone; `None` where it may be tried.
    pub fn until(&self, seq: u64, now: Millis) -> Option<Millis> {
        let over = self.count.checked_sub(PATIENCE)?;
        let wait = (FIRST << over.min(20)).clamp(FIRST, LONGEST);
        let until = self.at.saturating_add(wait);
        // A clock that was set back makes nobody wait longer.
        (self.seq == seq && (self.at..until).contains(&now)).then_some(until)
    }
}

impl Store {
    /// Runs that the agent did not survive, of the latest such bundle.
    pub fn crashes(&self) -> Result<Crashes, StoreError> {
        Ok(self.get_json("crashes")?.unwrap_or_default())
    }
}

/// A run of that bundle did not end.
pub(super) fn add_crash(t: &WriteTransaction, seq: u64, at: Millis) -> Result<(), redb::Error> {
    let before: Crashes = take_json(t, "crashes")?;
    let count = if before.seq == seq { before.count.saturating_add(1) } else { 1 };
    put_json(t, "crashes", &Crashes { seq, count, at })
}

/// A run ended.
pub(super) fn forget_crashes(t: &WriteTransaction) -> Result<(), redb::Error> {
    forget(t, "crashes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_left_alone_longer_and_longer_and_another_one_is_not() {
        let crashes = |count| Crashes { seq: 7, count, at: 1000 };
        assert_eq!(crashes(2).until(7, 1000), None);
        assert_eq!(crashes(3).until(7, 1000), Some(1000 + FIRST));
        assert_eq!(crashes(3).until(7, 1000 + FIRST), None);
        assert_eq!(crashes(5).until(7, 2000), Some(1000 + 4 * FIRST));
        assert_eq!(crashes(u32::MAX).until(7, 2000), Some(1000 + LONGEST));
        assert_eq!(crashes(9).until(8, 2000), None);
        assert_eq!(crashes(9).until(7, 999), None, "the clock went back");
    }
}
