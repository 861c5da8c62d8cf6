//! The release that is served, and its variants.
//!
//! Two copies of the policy are held: one is served, the other takes a change in first. So what is served goes on to
//! compile variants for hosts it has not seen yet, whatever becomes of the change: it may have errors, or it was only
//! looked at.

use crate::fleet::{Envoy, Facts, Kind};
use crate::policy::{Checked, ClassKey, Policy, PolicyError, PolicySource, SecretUse, Variant};
use crate::reach::{Reach, Tally};
use crate::store::lock;
use crate::tree::Tree;
use ir::manifest::{MAX_BUNDLE_BYTES, MAX_MODULES};
use ir::{Hash, Value};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

/// A served policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Grows with every other content; stored.
    pub serial: u64,
    /// Grows with every reload of this process; what caches compare.
    pub generation: u64,
    /// Of the policy.
    pub digest: Hash,
}

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
}

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staged").field("release", &self.table.release).finish_non_exhaustive()
    }
}

/// Why an envoy gets no variant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoVariant {
    /// The policy never compiled since the start.
    #[error("the server has no policy without errors to serve")]
    NoRelease,
    /// No node entry.
    #[error("no node entry matches `{0}`")]
    NoEntry(String),
    /// Compiling for this envoy failed.
    #[error("the policy does not compile for this envoy: {0}")]
    Policy(#[from] PolicyError),
    /// More than an agent takes.
    #[error("the bundle for this envoy is too large: {0}")]
    TooLarge(String),
}

/// Where a policy has an envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Of the node entries that were asked.
    layout: u32,
    /// The class; `None` when no node entry matches.
    class: Option<u32>,
}

/// What compiling for envoys of one kind came to.
type Made = Result<Arc<Plan>, NoVariant>;

/// What envoys of one class with the same shared traits get from one release.
#[derive(Debug)]
pub struct Plan {
    /// The release's.
    pub serial: u64,
    /// The variant.
    pub variant: Arc<Variant>,
    /// [`content_of`] it, when it reads no secrets.
    pub content: Option<Arc<str>>,
    /// What the envoys are told, and the epoch that stands in it.
    version: OnceLock<(u64, Arc<str>)>,
}

impl Plan {
    fn new(serial: u64, variant: Arc<Variant>) -> Self {
        let content = variant.secrets.is_empty().then(|| content_of(&variant, &[]));
        Plan { serial, variant, content, version: OnceLock::new() }
    }

    /// What an envoy with this content is told that it has.
    pub fn policy_version(&self, epoch: u64, content: &Arc<str>) -> Arc<str> {
        let version = || Arc::from(format!("{}.{epoch}.{content}", self.serial));
        // With secrets every envoy may have another content.
        if self.content.is_none() {
            return version();
        }
        let (of, known) = self.version.get_or_init(|| (epoch, version()));
        if *of == epoch { known.clone() } else { version() }
    }
}

/// Identifies everything an agent acts on: equal texts, equal bundles. `secrets` are paths with versions.
pub fn content_of(variant: &Variant, secrets: &[(&str, &str)]) -> Arc<str> {
    let mut bytes = Vec::from(variant.merkle_root.0);
    let mut field = |field: &[u8]| {
        bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
        bytes.extend_from_slice(field);
    };
    let order: Vec<u8> = variant.run_order.iter().flat_map(|at| at.to_be_bytes()).collect();
    field(&order);
    field(&(variant.required_features.len() as u64).to_be_bytes());
    variant.required_features.iter().for_each(|f| field(f.as_bytes()));
    for (path, version) in secrets {
        field(path.as_bytes());
        field(version.as_bytes());
    }
    let mut content = Hash::of(&bytes).to_string();
    content.truncate(32);
    content.into()
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

/// The plans of one release.
#[derive(Debug)]
struct Table {
    release: Arc<Release>,
    tree: Tree,
    layout: u32,
    /// By class and facts.
    plans: RwLock<HashMap<(u32, u32), Made>>,
    variants: Mutex<HashMap<u32, Vec<Known>>>,
}

/// Variants of a class that were made by reading the same traits.
#[derive(Debug)]
struct Known {
    footprint: Vec<String>,
    by_values: HashMap<Vec<Value>, Arc<Variant>>,
}

impl Table {
    /// What is known without asking the compiler; `None` when it has to be asked.
    fn plan(&self, hostname: &str, kind: &Kind) -> Option<Result<Arc<Plan>, NoVariant>> {
        let (placed, facts) = (kind.class.filter(|p| p.layout == self.layout)?, kind.facts.as_ref()?);
        match placed.class {
            None => Some(Err(NoVariant::NoEntry(hostname.to_owned()))),
            Some(class) => {
                let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
                plans.get(&(class, facts.number)).cloned()
            }
        }
    }

    /// Asks the compiler, unless another envoy with the same footprint values did.
    fn make(
        &self,
        policy: &dyn Policy,
        key: &ClassKey,
        class: u32,
        facts: &Facts,
    ) -> Result<Arc<Plan>, NoVariant> {
        let mut plans = self.plans.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = plans.get(&(class, facts.number)) {
            return known.clone();
        }
        drop(plans);
        let plan = self
            .variant(policy, key, class, &facts.traits)
            .map(|v| Arc::new(Plan::new(self.release.serial, v)));
        plans = self.plans.write().unwrap_or_else(PoisonError::into_inner);
        plans.insert((class, facts.number), plan.clone());
        plan
    }

    fn variant(
        &self,
        policy: &dyn Policy,
        key: &ClassKey,
        class: u32,
        traits: &Value,
    ) -> Result<Arc<Variant>, NoVariant> {
        let mut all = lock(&self.variants);
        let known = all.entry(class).or_default();
        let hit = known.iter().find_map(|k| k.by_values.get(&values(&k.footprint, traits)));
        if let Some(variant) = hit {
            return Ok(variant.clone());
        }
        let variant = policy.variant(key, traits)?;
        check_size(&variant)?;
        let values = values(&variant.footprint, traits);
        match known.iter_mut().find(|k| k.footprint == variant.footprint) {
            Some(k) => drop(k.by_values.insert(values, variant.clone())),
            None => {
                let by_values = HashMap::from([(values, variant.clone())]);
                known.push(Known { footprint: variant.footprint.clone(), by_values });
            }
        }
        Ok(variant)
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
    pub fn stage(&self, tree: &Tree, serial: u64, envoys: &[Arc<Envoy>], anyway: bool) -> Candidate {
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
        let table = Arc::new(Table {
            release: Arc::new(Release { serial, generation, digest: tree.digest() }),
            tree: tree.clone(),
            layout: Classes::number(&mut lock(&self.classes).layouts, policy.layout()),
            plans: RwLock::default(),
            variants: Mutex::default(),
        });
        let (tally, placed) = self.tally(&table, before.as_deref(), &*policy, envoys);
        let (reach, effect) = (tally.reach(table.count()), tally.digest());
        let about = Arc::new(About { checked, reach, effect, secrets: policy.secrets() });
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
        facts: &Facts,
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

impl Table {
    fn count(&self) -> usize {
        lock(&self.variants).values().flatten().map(|k| k.by_values.len()).sum()
    }
}

/// An absent trait is `Null`, which no trait's value is.
fn values(footprint: &[String], traits: &Value) -> Vec<Value> {
    let at = |path: &String| {
        path.split('.').try_fold(traits, |value, key| match value {
            Value::Map(map) => map.get(key),
            _ => None,
        })
    };
    footprint.iter().map(|path| at(path).cloned().unwrap_or_default()).collect()
}

fn check_size(variant: &Variant) -> Result<(), NoVariant> {
    let bytes: u64 = variant.modules.iter().map(|m| m.bytes.len() as u64).sum();
    if variant.modules.len() > MAX_MODULES {
        return Err(NoVariant::TooLarge(format!("{} modules, at most {MAX_MODULES}", variant.modules.len())));
    }
    if bytes > MAX_BUNDLE_BYTES {
        return Err(NoVariant::TooLarge(format!("{bytes} bytes, at most {MAX_BUNDLE_BYTES}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MemoryPolicy, module, traits};

    /// Whether what the source has now was fit to be served.
    fn publish(catalog: &Catalog, serial: u64) -> Result<Reach, Checked> {
        let tree = catalog.read().unwrap().unwrap();
        match catalog.stage(&tree, serial, &[], false) {
            Candidate::Ready(staged) => {
                let reach = staged.about.reach.clone();
                assert_eq!(catalog.serve(*staged).serial, serial);
                catalog.catch_up(&[]);
                Ok(reach)
            }
            Candidate::Refused(checked) => Err(checked),
        }
    }

    fn facts(number: u32, family: &str) -> Facts {
        Facts { number, traits: traits(family) }
    }

    fn variant(
        catalog: &Catalog,
        hostname: &str,
        facts: &Facts,
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
        let Candidate::Ready(staged) = catalog.stage(&tree, 2, &[], false) else {
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
}
