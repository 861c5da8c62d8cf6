//! The release that is served, and its variants.
//!
//! Two copies of the policy are held: one is served, the other takes a change in first. So what is served goes on to
//! compile variants for hosts it has not seen yet, whatever becomes of the change: it may have errors, or it was only
//! looked at.

mod table;

pub use table::{NoVariant, Placed, Plan, Release, content_of};

use crate::fleet::{Envoy, Facts, Kind};
use crate::policy::{Checked, ClassKey, Policy, PolicyError, PolicySource, SecretUse};
use crate::reach::{Reach, Tally};
use crate::secrets::acl::{Denied, Rules};
use crate::store::lock;
use crate::tree::Tree;
use ir::Hash;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use table::Table;

/// What looking at a policy came to.
#[derive(Debug)]
pub enum Candidate {
    /// Fit to be served: call [`Catalog::serve`], or [`Catalog::put_back`].
    Ready(Box<Staged>),
    /// It has errors; the release that is served stays.
    Refused(Checked),
}

/// A policy that is compiled for every known envoy, and served to none.
pub struct Staged {
    policy: Box<dyn Policy>,
    table: Arc<Table>,
    /// Where it has envoys that the served one has elsewhere.
    placed: Vec<(Arc<Envoy>, Placed)>,
    /// What is known of it.
    pub about: Arc<About>,
}

/// What is known of a policy that is staged.
#[derive(Debug)]
pub struct About {
    /// What checking found (warnings perhaps).
    pub checked: Checked,
    /// What serving it would do to the fleet.
    pub reach: Reach,
    /// Of what changes; see [`Tally::digest`].
    pub effect: Hash,
    /// The secrets that it names.
    pub secrets: Vec<SecretUse>,
    /// Those that it gives to envoys that may not have them.
    pub denied: Denied,
}

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staged").field("release", &self.table.release).finish_non_exhaustive()
    }
}

/// See the module.
pub struct Catalog {
    source: Box<dyn PolicySource>,
    next: Mutex<Option<Box<dyn Policy>>>,
    served: Mutex<Option<Box<dyn Policy>>>,
    /// What `served` came to so far. Looked at by every check-in, so nobody holds it for long.
    table: RwLock<Option<Arc<Table>>>,
    classes: Mutex<Classes>,
}

/// Numbers for classes, the same for as long as the process runs.
#[derive(Default)]
struct Classes {
    numbers: HashMap<ClassKey, u32>,
    layouts: HashMap<Hash, u32>,
}

impl Classes {
    fn number<K: std::hash::Hash + Eq>(numbers: &mut HashMap<K, u32>, key: K) -> u32 {
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        *numbers.entry(key).or_insert(next)
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("release", &self.release()).finish_non_exhaustive()
    }
}

impl Catalog {
    /// With nothing served yet.
    pub fn new(source: Box<dyn PolicySource>) -> Self {
        Catalog {
            source,
            next: Mutex::default(),
            served: Mutex::default(),
            table: RwLock::default(),
            classes: Mutex::default(),
        }
    }

    fn table(&self) -> Option<Arc<Table>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is served.
    pub fn release(&self) -> Option<Arc<Release>> {
        self.table().map(|table| table.release.clone())
    }

    /// What lies in the policy directory of this server; `None` when that holds no policy. Blocks.
    pub fn read(&self) -> Result<Option<Tree>, PolicyError> {
        self.source.read()
    }

    /// The files of what is served, when it is this release.
    pub fn tree(&self, serial: u64) -> Option<Tree> {
        self.table().filter(|table| table.release.serial == serial).map(|table| table.tree.clone())
    }

    /// Checks a policy and computes the roots of these envoys; takes as long as compiling takes, and nothing that is served
    /// waits for it. With `anyway`, errors do not matter: it was published before.
    ///
    /// One at a time: whoever calls it serves what comes out, or puts it back.
    pub fn stage(
        &self,
        tree: &Tree,
        serial: u64,
        envoys: &[Arc<Envoy>],
        rules: &Rules,
        anyway: bool,
    ) -> Candidate {
        let mut next = lock(&self.next);
        let policy = match next.take() {
            Some(mut policy) => {
                policy.take(tree);
                policy
            }
            None => self.source.open(tree),
        };
        let checked = policy.check();
        if checked.errors > 0 && !anyway {
            *next = Some(policy);
            return Candidate::Refused(checked);
        }
        let before = self.table();
        let generation = before.as_ref().map_or(1, |t| t.release.generation + 1);
        let layout = Classes::number(&mut lock(&self.classes).layouts, policy.layout());
        let release = Release { serial, generation, digest: tree.digest() };
        let table = Arc::new(Table::new(release, tree.clone(), layout));
        let mut denied = Denied::default();
        let (tally, placed) = self.tally(&table, before.as_deref(), &*policy, envoys, |envoy, plan| {
            let variant = &plan.variant;
            denied.count(rules, &variant.secrets, &envoy.hostname, &variant.roles);
        });
        let (reach, effect) = (tally.reach(table.count()), tally.digest());
        let about = Arc::new(About { checked, reach, effect, secrets: policy.secrets(), denied });
        Candidate::Ready(Box::new(Staged { policy, table, placed, about }))
    }

    /// Serves what was staged, from one check-in to the next.
    pub fn serve(&self, staged: Staged) -> Arc<Release> {
        let Staged { policy, table, placed, .. } = staged;
        let release = table.release.clone();
        // Held while both change: whoever compiles for a host that was not seen yet works on a pair that belongs together.
        let mut served = lock(&self.served);
        let old = served.replace(policy);
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Some(table);
        drop(served);
        for (envoy, placed) in placed {
            envoy.set_class(placed);
        }
        *lock(&self.next) = old;
        release
    }

    /// Forgets what was staged, but keeps what was compiled for it.
    pub fn put_back(&self, staged: Staged) {
        *lock(&self.next) = Some(staged.policy);
    }

    /// Brings the second copy up to date with the first, variants included, so that the next change has nothing to compile
    /// but itself.
    pub fn catch_up(&self, envoys: &[Arc<Envoy>]) {
        let mut next = lock(&self.next);
        let Some(table) = self.table() else { return };
        let policy = match next.take() {
            Some(mut policy) => {
                policy.take(&table.tree);
                policy
            }
            None => self.source.open(&table.tree),
        };
        policy.check();
        let mut done = HashSet::new();
        for kind in envoys.iter().map(|e| e.kind()) {
            let (Some(facts), Some(Placed { class: Some(class), .. })) = (&kind.facts, kind.class) else {
                continue;
            };
            if done.insert((class, facts.number))
                && let Some(key) = self.class_key(class)
            {
                let _ = policy.variant(&key, &facts.traits);
            }
        }
        *next = Some(policy);
    }

    fn class_key(&self, number: u32) -> Option<ClassKey> {
        let classes = lock(&self.classes);
        classes.numbers.iter().find(|(_, n)| **n == number).map(|(key, _)| key.clone())
    }

    fn tally(
        &self,
        table: &Table,
        before: Option<&Table>,
        policy: &dyn Policy,
        envoys: &[Arc<Envoy>],
        mut look: impl FnMut(&Envoy, &Plan),
    ) -> (Tally, Vec<(Arc<Envoy>, Placed)>) {
        let (mut tally, mut moved) = (Tally::default(), Vec::new());
        let mut keys: HashMap<u32, ClassKey> = HashMap::new();
        for (key, number) in &lock(&self.classes).numbers {
            keys.insert(*number, key.clone());
        }
        for envoy in envoys {
            let mut kind = envoy.kind();
            let Some(facts) = kind.facts.clone() else {
                tally.unknown += 1;
                continue;
            };
            let old = before.and_then(|t| t.plan(&envoy.hostname, &kind)).and_then(Result::ok);
            let placed = match kind.class.filter(|p| p.layout == table.layout) {
                Some(placed) => placed,
                None => {
                    let placed = self.place(table.layout, policy, &envoy.hostname, &mut keys);
                    // Told to the envoy when this is served: until then its check-ins go by the old layout.
                    moved.push((envoy.clone(), placed));
                    placed
                }
            };
            kind.class = Some(placed);
            let new = match (table.plan(&envoy.hostname, &kind), placed.class) {
                (Some(known), _) => known.ok(),
                (None, Some(class)) => {
                    keys.get(&class).and_then(|key| table.make(policy, key, class, &facts).ok())
                }
                (None, None) => None,
            };
            if let Some(plan) = &new {
                look(envoy, plan);
            }
            tally.count(old, new);
        }
        (tally, moved)
    }

    fn place(
        &self,
        layout: u32,
        policy: &dyn Policy,
        hostname: &str,
        keys: &mut HashMap<u32, ClassKey>,
    ) -> Placed {
        let class = policy.class_of(hostname).map(|key| {
            let number = Classes::number(&mut lock(&self.classes).numbers, key.clone());
            keys.entry(number).or_insert(key);
            number
        });
        Placed { layout, class }
    }

    /// What an envoy of this kind gets, as far as it is known without asking the compiler: the whole cost of a
    /// check-in without news.
    pub fn known(&self, hostname: &str, kind: &Kind) -> Option<Result<Arc<Plan>, NoVariant>> {
        match self.table() {
            Some(table) => table.plan(hostname, kind),
            None => Some(Err(NoVariant::NoRelease)),
        }
    }

    /// Where the policy has an envoy, and what it gets. Compiles unless somebody like it was here before; blocks.
    pub fn plan(
        &self,
        hostname: &str,
        facts: &Arc<Facts>,
    ) -> Result<(Placed, Result<Arc<Plan>, NoVariant>), NoVariant> {
        let served = lock(&self.served);
        let policy = served.as_deref().ok_or(NoVariant::NoRelease)?;
        let table = self.table().ok_or(NoVariant::NoRelease)?;
        let mut keys = HashMap::new();
        let placed = self.place(table.layout, policy, hostname, &mut keys);
        let plan = match placed.class.and_then(|class| Some((class, keys.get(&class)?))) {
            Some((class, key)) => table.make(policy, key, class, facts),
            None => Err(NoVariant::NoEntry(hostname.to_owned())),
        };
        Ok((placed, plan))
    }

    /// How many variants the release has so far.
    pub fn variants(&self) -> usize {
        self.table().map_or(0, |table| table.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Variant;
    use crate::testing::{MemoryPolicy, module, traits};

    /// Whether what the source has now was fit to be served.
    fn publish(catalog: &Catalog, serial: u64) -> Result<Reach, Box<Checked>> {
        let tree = catalog.read().unwrap().unwrap();
        match catalog.stage(&tree, serial, &[], &Rules::default(), false) {
            Candidate::Ready(staged) => {
                let reach = staged.about.reach.clone();
                assert_eq!(catalog.serve(*staged).serial, serial);
                catalog.catch_up(&[]);
                Ok(reach)
            }
            Candidate::Refused(checked) => Err(Box::new(checked)),
        }
    }

    fn facts(number: u32, family: &str) -> Arc<Facts> {
        Arc::new(Facts { number, traits: traits(family) })
    }

    fn variant(
        catalog: &Catalog,
        hostname: &str,
        facts: &Arc<Facts>,
    ) -> Result<(Arc<Release>, Arc<Variant>), NoVariant> {
        let (_, plan) = catalog.plan(hostname, facts)?;
        Ok((catalog.release().unwrap(), plan?.variant.clone()))
    }

    #[test]
    fn a_policy_with_errors_leaves_the_last_good_one_at_work() {
        let source = MemoryPolicy::new(vec![module("a", "1")]);
        let catalog = Catalog::new(Box::new(source.clone()));
        let debian = facts(1, "debian");
        assert_eq!(variant(&catalog, "web", &debian).unwrap_err(), NoVariant::NoRelease);
        publish(&catalog, 1).unwrap();
        let (_, good) = variant(&catalog, "web", &debian).unwrap();
        source.edit(|p| (p.modules, p.errors) = (vec![module("a", "broken")], 3));
        assert_eq!(publish(&catalog, 2).unwrap_err().errors, 3);
        let (release, unseen) = variant(&catalog, "web", &facts(2, "redhat")).unwrap();
        assert_eq!((release.serial, unseen.modules[0].hash), (1, good.modules[0].hash));

        source.edit(|p| (p.modules, p.errors) = (vec![module("a", "2")], 0));
        publish(&catalog, 2).unwrap();
        let (release, new) = variant(&catalog, "web", &debian).unwrap();
        assert_eq!((release.serial, release.generation), (2, 2));
        assert_ne!(new.modules[0].hash, good.modules[0].hash);
    }

    #[test]
    fn what_is_only_looked_at_is_not_served() {
        let source = MemoryPolicy::new(vec![module("a", "1")]);
        let catalog = Catalog::new(Box::new(source.clone()));
        publish(&catalog, 1).unwrap();
        let debian = facts(1, "debian");
        let (_, good) = variant(&catalog, "web", &debian).unwrap();
        source.edit(|p| p.modules = vec![module("a", "2")]);
        let tree = catalog.read().unwrap().unwrap();
        let Candidate::Ready(staged) = catalog.stage(&tree, 2, &[], &Rules::default(), false) else {
            panic!("it has no errors")
        };
        let (release, same) = variant(&catalog, "web", &debian).unwrap();
        assert_eq!((release.serial, same.merkle_root), (1, good.merkle_root));
        catalog.put_back(*staged);
        let (release, same) = variant(&catalog, "web", &facts(2, "redhat")).unwrap();
        assert_eq!((release.serial, same.modules[0].hash), (1, good.modules[0].hash));
        publish(&catalog, 2).unwrap();
        assert_ne!(variant(&catalog, "web", &debian).unwrap().1.merkle_root, good.merkle_root);
    }

    #[test]
    fn envoys_with_the_same_footprint_values_share_a_variant() {
        let source = MemoryPolicy::new(vec![module("a", "1")]);
        let catalog = Catalog::new(Box::new(source.clone()));
        publish(&catalog, 1).unwrap();
        for _ in 0..5 {
            variant(&catalog, "web", &facts(1, "debian")).unwrap();
            variant(&catalog, "db", &facts(3, "debian")).unwrap();
        }
        assert_eq!((source.compiled(), catalog.variants()), (1, 1));
        variant(&catalog, "web", &facts(2, "redhat")).unwrap();
        assert_eq!((source.compiled(), catalog.variants()), (2, 2));
        let stranger = variant(&catalog, "nobody", &facts(1, "debian")).unwrap_err();
        assert_eq!(stranger, NoVariant::NoEntry("nobody".into()));
    }

    #[test]
    fn traits_that_no_envoy_has_any_more_leave_nothing_behind() {
        let catalog = Catalog::new(Box::new(MemoryPolicy::new(vec![module("a", "1")])));
        publish(&catalog, 1).unwrap();
        let stays = facts(0, "debian");
        for number in 1..5000 {
            variant(&catalog, "web", &facts(number, &format!("family-{number}"))).unwrap();
        }
        variant(&catalog, "web", &stays).unwrap();
        assert!(catalog.variants() < 3000, "{} variants", catalog.variants());
    }
}
