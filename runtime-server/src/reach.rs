//! How far a release reaches: which envoys get something else. Counted in pairs of variants, with the number of envoys
//! that go from one to the other, so that its cost beside the counting does not grow with the fleet.

use crate::catalog::Plan;
use compiler::plan::diff::{Change, Diffs};
use ir::Hash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Changes that are listed.
const MOST_CHANGES: usize = 500;

/// What a release does to the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reach {
    /// Active envoys whose traits are known.
    pub envoys: u64,
    /// Of those, how many get another root than before.
    pub changed: u64,
    /// Of those that change, how many had a bundle before and get none now: no node entry matches them any more, or the
    /// policy does not compile for their traits. They keep what they have until it expires.
    pub lost: u64,
    /// Active envoys that have not checked in yet; what they get shows when they do.
    pub unknown: u64,
    /// Variants that the envoys have between them.
    pub variants: u64,
    /// By environment, envoys without one under an empty name.
    pub environments: Vec<Share>,
    /// By role.
    pub roles: Vec<Share>,
    /// Modules and resources that are others, the widest first; at most 500.
    pub changes: Vec<Touched>,
}

/// A part of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// What they have in common.
    pub name: String,
    /// How many there are.
    pub envoys: u64,
    /// How many of them get another root.
    pub changed: u64,
}

/// A module or resource that is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Touched {
    /// `module.resource`, or a module's name; empty for the order of modules.
    pub name: String,
    /// `added`, `removed`, `changed` or `reordered`.
    pub change: String,
    /// On how many envoys.
    pub envoys: u64,
}

type Side = Option<Arc<Plan>>;

/// Envoys, counted by what they had and what they get.
#[derive(Debug, Default)]
pub struct Tally {
    pairs: HashMap<(usize, usize), (u64, Side, Side)>,
    /// Without traits.
    pub unknown: u64,
}

impl Tally {
    /// One more envoy.
    pub fn count(&mut self, old: Side, new: Side) {
        // The plans are held below, so no address is used twice.
        let address = |side: &Side| side.as_ref().map_or(0, |plan| Arc::as_ptr(plan) as usize);
        self.pairs.entry((address(&old), address(&new))).or_insert((0, old, new)).0 += 1;
    }

    /// Adds it up.
    pub fn reach(&self, variants: usize) -> Reach {
        let mut reach = Reach { unknown: self.unknown, variants: variants as u64, ..Reach::default() };
        let (mut environments, mut roles) = (BTreeMap::new(), BTreeMap::new());
        let (mut diffs, mut touched) = (Diffs::default(), BTreeMap::new());
        for (envoys, old, new) in self.pairs.values() {
            let changed = if root(old) == root(new) { 0 } else { *envoys };
            reach.envoys += envoys;
            reach.changed += changed;
            if new.is_none() {
                reach.lost += changed;
            }
            if let Some(plan) = new.as_ref().or(old.as_ref()) {
                let variant = &plan.variant;
                let environment = variant.environment.clone().unwrap_or_default();
                for (shares, name) in std::iter::once((true, &environment))
                    .chain(variant.roles.iter().map(|role| (false, role)))
                {
                    let shares: &mut BTreeMap<String, (u64, u64)> =
                        if shares { &mut environments } else { &mut roles };
                    let share = shares.entry(name.clone()).or_default();
                    (share.0, share.1) = (share.0 + envoys, share.1 + changed);
                }
            }
            if let (Some(old), Some(new)) = (old, new) {
                for change in diffs.variants(&old.variant, &new.variant).1 {
                    *touched.entry((name(&change), change.kind())).or_default() += envoys;
                }
            }
        }
        let shares = |all: BTreeMap<String, (u64, u64)>| -> Vec<Share> {
            all.into_iter().map(|(name, (envoys, changed))| Share { name, envoys, changed }).collect()
        };
        (reach.environments, reach.roles) = (shares(environments), shares(roles));
        let touched: BTreeMap<(String, &str), u64> = touched;
        reach.changes = touched
            .into_iter()
            .map(|((name, change), envoys)| Touched { name, change: change.to_owned(), envoys })
            .collect();
        reach.changes.sort_by(|a, b| b.envoys.cmp(&a.envoys).then_with(|| a.cmp(b)));
        reach.changes.truncate(MOST_CHANGES);
        reach
    }

    /// Identifies what changes on which kinds of envoys, and on how many: another fleet or another policy before, another
    /// digest. Envoys to which nothing happens make no difference.
    pub fn digest(&self) -> Hash {
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        for (envoys, old, new) in self.pairs.values().filter(|(_, old, new)| root(old) != root(new)) {
            let side = |side: &Side| {
                side.as_ref().map_or("-".to_owned(), |plan| {
                    let variant = &plan.variant;
                    let environment = variant.environment.as_deref().unwrap_or_default();
                    format!("{}/{environment}/{}", variant.merkle_root, variant.roles.join(","))
                })
            };
            *lines.entry(format!("{} {}", side(old), side(new))).or_default() += envoys;
        }
        let lines: Vec<String> =
            lines.into_iter().map(|(line, envoys)| format!("{line} {envoys}\n")).collect();
        Hash::of(lines.concat().as_bytes())
    }
}

fn root(side: &Side) -> Option<Hash> {
    side.as_ref().map(|plan| plan.variant.merkle_root)
}

fn name(change: &Change) -> String {
    match (change.module(), change.resource()) {
        (Some(module), Some(resource)) => format!("{module}.{resource}"),
        (Some(module), None) => module.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Candidate, Catalog};
    use crate::fleet::Facts;
    use crate::testing::{MemoryPolicy, module, traits};

    fn plan(content: &str) -> Side {
        let catalog = Catalog::new(Box::new(MemoryPolicy::new(vec![module("a", content)])));
        let tree = catalog.read().unwrap().unwrap();
        let Candidate::Ready(staged) = catalog.stage(&tree, 1, &[], &Default::default(), false) else {
            panic!("it has no errors")
        };
        catalog.serve(*staged);
        let facts = Arc::new(Facts { number: 1, traits: traits("debian") });
        catalog.plan("web", &facts).unwrap().1.ok()
    }

    fn tally(envoys: &[(&Side, &Side)]) -> Tally {
        let mut tally = Tally::default();
        envoys.iter().for_each(|(old, new)| tally.count((*old).clone(), (*new).clone()));
        tally
    }

    #[test]
    fn envoys_to_which_nothing_happens_make_no_other_plan() {
        let (old, new) = (plan("1"), plan("2"));
        let one = tally(&[(&old, &new)]).digest();
        assert_eq!(tally(&[(&old, &new), (&new, &new), (&old, &plan("1"))]).digest(), one);
        assert_ne!(tally(&[(&old, &new), (&old, &new)]).digest(), one);
        assert_ne!(tally(&[(&new, &old)]).digest(), one);
        assert_ne!(tally(&[(&old, &None)]).digest(), one);
    }

    #[test]
    fn a_reach_adds_up() {
        let (old, new) = (plan("1"), plan("2"));
        let reach =
            tally(&[(&old, &new), (&new, &new), (&old, &None), (&None, &new), (&None, &None)]).reach(3);
        assert_eq!((reach.envoys, reach.changed, reach.lost, reach.variants), (5, 3, 1, 3));
        assert_eq!(reach.environments, [Share { name: String::new(), envoys: 4, changed: 3 }]);
        assert_eq!(reach.changes, [Touched { name: "a.file".into(), change: "changed".into(), envoys: 1 }]);
    }
}
