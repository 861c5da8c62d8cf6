//! What a change of policy does to a fleet.
//!
//! Envoys are put together before anything is compiled ([`survey`]): those of one class that agree on the traits which
//! the class looks at get one variant. Variants of the old and of the new policy are compared in pairs ([`diff`]),
//! modules with equal hashes not at all, and equal changes are told once, with all the envoys that they are for
//! ([`outline`]). So the cost goes with variants and with what changed, not with hosts.

pub mod diff;
pub mod outline;
pub mod survey;

pub use diff::{Change, Move, Part, Resource};
pub use outline::{Group, Item, Variation};
pub use survey::{Entry, Fate, Fleet, Member, Refused, Survey};

use crate::policy::Policy;
use crate::tree::OpenError;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What happens to a fleet.
#[derive(Debug)]
pub struct Plan {
    /// The old policy.
    pub old: Survey,
    /// The new policy.
    pub new: Survey,
    /// Envoys that have the same fate in both, put together; sorted by their first envoy.
    pub pairs: Vec<Pair>,
    /// What changes, the widest first.
    pub groups: Vec<Group>,
}

/// Envoys with one fate in the old and one in the new policy.
#[derive(Clone, Debug)]
pub struct Pair {
    /// In the old policy.
    pub old: Fate,
    /// In the new policy.
    pub new: Fate,
    /// What that is for them.
    pub status: Status,
    /// Places in the fleet, in order.
    pub envoys: Vec<u32>,
}

/// What a change of policy is for an envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It gets other resources.
    Changed,
    /// It gets the same resources in another order.
    Reordered,
    /// Only variables that no resource of it reads are others.
    Variables,
    /// It gets what it had.
    Unchanged,
    /// No entry matched it before.
    Added,
    /// No entry matches it any more.
    Removed,
    /// The new policy does not compile for it; the old one did, or had no entry.
    Broken,
    /// The new policy compiles for it, the old one did not.
    Repaired,
    /// Neither compiles for it.
    StillBroken,
    /// No entry matches it in either.
    Unmatched,
}

impl Plan {
    /// Compares two policy directories for a fleet.
    ///
    /// The second is read into the database of the first, so what they share is compiled once.
    pub fn of(old: &Path, new: &Path, fleet: &Fleet) -> Result<Plan, OpenError> {
        let mut policy = Policy::open(old)?;
        let before = Survey::of(&policy, fleet);
        policy.switch_to(new)?;
        let after = Survey::of(&policy, fleet);
        Ok(Plan::between(before, after))
    }

    /// Compares two surveys of one fleet.
    pub fn between(old: Survey, new: Survey) -> Plan {
        let mut by_fates: HashMap<(Fate, Fate), Vec<u32>> = HashMap::new();
        for (at, fates) in old.fates.iter().copied().zip(new.fates.iter().copied()).enumerate() {
            by_fates.entry(fates).or_default().push(at as u32);
        }
        let mut diffs = diff::Diffs::default();
        let mut pairs = Vec::with_capacity(by_fates.len());
        for ((before, after), envoys) in by_fates {
            let (status, changes) = match (old.variant(before), new.variant(after)) {
                (Some(a), Some(b)) => diffs.variants(a, b),
                _ => (status(before, after), Vec::new()),
            };
            pairs.push((Pair { old: before, new: after, status, envoys }, changes));
        }
        pairs.sort_by_key(|(pair, _)| pair.envoys.first().copied());
        let changes: Vec<_> = pairs.iter().map(|(pair, changes)| (pair.envoys.len(), &changes[..])).collect();
        let groups = outline::groups(&changes);
        Plan { old, new, groups, pairs: pairs.into_iter().map(|(pair, _)| pair).collect() }
    }

    /// Envoys by what happens to them.
    pub fn counts(&self) -> BTreeMap<Status, usize> {
        let mut out = BTreeMap::new();
        for pair in &self.pairs {
            *out.entry(pair.status).or_default() += pair.envoys.len();
        }
        out
    }

    /// How many envoys have a status.
    pub fn count(&self, status: Status) -> usize {
        self.pairs.iter().filter(|p| p.status == status).map(|p| p.envoys.len()).sum()
    }

    /// Envoys that get something else than before: what `--max-envoys` limits.
    pub fn touched(&self) -> usize {
        self.pairs.iter().filter(|p| p.status.touches()).map(|p| p.envoys.len()).sum()
    }

    /// Resources that leave the policy or become absent, counted once on each envoy: what `--max-deletes` limits.
    pub fn deletes(&self) -> usize {
        let variations = self.groups.iter().flat_map(|g| &g.items).flat_map(|i| &i.variations);
        variations.map(|v| v.change.deletes() * self.envoys_of(&v.pairs)).sum()
    }

    /// How many envoys some pairs have together.
    pub fn envoys_of(&self, pairs: &[u32]) -> usize {
        pairs.iter().filter_map(|at| self.pairs.get(*at as usize)).map(|p| p.envoys.len()).sum()
    }
}

impl Status {
    /// Whether an envoy of this status gets something else than before.
    pub fn touches(self) -> bool {
        matches!(
            self,
            Status::Changed
                | Status::Reordered
                | Status::Added
                | Status::Removed
                | Status::Broken
                | Status::Repaired
        )
    }

    /// As programs see it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Changed => "changed",
            Status::Reordered => "reordered",
            Status::Variables => "variables",
            Status::Unchanged => "unchanged",
            Status::Added => "added",
            Status::Removed => "removed",
            Status::Broken => "broken",
            Status::Repaired => "repaired",
            Status::StillBroken => "still-broken",
            Status::Unmatched => "unmatched",
        }
    }

    /// All, in the order in which they are told.
    pub const ALL: [Status; 10] = [
        Status::Changed,
        Status::Reordered,
        Status::Variables,
        Status::Unchanged,
        Status::Added,
        Status::Removed,
        Status::Broken,
        Status::Repaired,
        Status::StillBroken,
        Status::Unmatched,
    ];
}

/// Of envoys that do not have a variant on both sides.
fn status(old: Fate, new: Fate) -> Status {
    match (old, new) {
        (Fate::Variant(_), Fate::Variant(_)) => Status::Unchanged,
        (Fate::NoEntry, Fate::NoEntry) => Status::Unmatched,
        (Fate::NoEntry, Fate::Variant(_)) => Status::Added,
        (Fate::Variant(_) | Fate::Refused(_), Fate::NoEntry) => Status::Removed,
        (Fate::Refused(_), Fate::Refused(_)) => Status::StillBroken,
        (Fate::Refused(_), Fate::Variant(_)) => Status::Repaired,
        (_, Fate::Refused(_)) => Status::Broken,
    }
}
