//! The release that is served, and its variants.
//!
//! Two copies of the policy are held: one is served, the other takes a change in first. A change with errors
//! stays in the second copy, so the first can go on to compile variants for hosts it has not seen yet.

use crate::fleet::{Envoy, Facts, Kind};
use crate::policy::{Checked, ClassKey, Policy, PolicyError, PolicySource, Variant};
use crate::store::lock;
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

/// What an attempt to publish came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// The same content as the release that is served.
    Unchanged,
    /// New, and fit to be served: call [`Catalog::serve`].
    Ready {
        /// What checking found (warnings perhaps).
        checked: Checked,
        /// Files that changed.
        changed: Vec<String>,
        /// Of the new policy.
        digest: Hash,
    },
    /// It has errors; the release that is served stays.
    Refused {
        /// What checking found.
        checked: Checked,
        /// Files that changed.
        changed: Vec<String>,
    },
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

/// What a publish did to the fleet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Envoys whose roots are known under the new release.
    pub envoys: usize,
    /// Envoys whose roots are others than before.
    pub changed: usize,
    /// Variants that the envoys have between them.
    pub variants: usize,
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

    /// Reads the policy anew and checks it. Takes as long as compiling takes.
    pub fn prepare(&self) -> Result<Candidate, PolicyError> {
        let mut next = lock(&self.next);
        let (policy, changed) = match next.take() {
            Some(mut policy) => {
                let changed = policy.refresh();
                (next.insert(policy), changed?)
            }
            None => (next.insert(self.source.open()?), Vec::new()),
        };
        let digest = policy.digest();
        if self.release().is_some_and(|r| r.digest == digest) {
            return Ok(Candidate::Unchanged);
        }
        let checked = policy.check();
        if checked.errors > 0 {
            return Ok(Candidate::Refused { checked, changed });
        }
        Ok(Candidate::Ready { checked, changed, digest })
    }

    /// Serves what [`Catalog::prepare`] found ready; the roots of these envoys are known before the first of them
    /// asks. `None` when it was changed in between.
    pub fn serve(&self, serial: u64, digest: Hash, envoys: &[Arc<Envoy>]) -> Option<Reach> {
        let mut next = lock(&self.next);
        let policy = next.take_if(|p| p.digest() == digest)?;
        let before = self.table();
        let generation = before.as_ref().map_or(1, |t| t.release.generation + 1);
        let table = Arc::new(Table {
            release: Arc::new(Release { serial, generation, digest }),
            layout: Classes::number(&mut lock(&self.classes).layouts, policy.layout()),
            plans: RwLock::default(),
            variants: Mutex::default(),
        });
        let reach = self.reach(&table, before.as_deref(), &*policy, envoys);
        let old = lock(&self.served).replace(policy);
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Some(table);
        *next = old;
        Some(reach)
    }

    /// Brings the second copy up to date with the first, variants included, so that it tells the next change apart
    /// and has to compile nothing else. A failure shows at the next change too.
    pub fn catch_up(&self, envoys: &[Arc<Envoy>]) {
        let mut next = lock(&self.next);
        let mut policy = match next.take() {
            Some(mut policy) => policy.refresh().ok().map(|_| policy),
            None => self.source.open().ok(),
        };
        if let Some(policy) = &mut policy {
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
        }
        *next = policy;
    }

    fn class_key(&self, number: u32) -> Option<ClassKey> {
        let classes = lock(&self.classes);
        classes.numbers.iter().find(|(_, n)| **n == number).map(|(key, _)| key.clone())
    }

    fn reach(
        &self,
        table: &Table,
        before: Option<&Table>,
        policy: &dyn Policy,
        envoys: &[Arc<Envoy>],
    ) -> Reach {
        let mut reach = Reach::default();
        let mut keys: HashMap<u32, ClassKey> = HashMap::new();
        for (key, number) in &lock(&self.classes).numbers {
            keys.insert(*number, key.clone());
        }
        for envoy in envoys {
            let mut kind = envoy.kind();
            let Some(facts) = kind.facts.clone() else { continue };
            let old = before.and_then(|t| t.plan(&envoy.hostname, &kind)).and_then(Result::ok);
            let placed = match kind.class.filter(|p| p.layout == table.layout) {
                Some(placed) => placed,
                None => {
                    let placed = self.place(table.layout, policy, &envoy.hostname, &mut keys);
                    envoy.set_class(placed);
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
            reach.envoys += usize::from(new.is_some());
            let root = |plan: &Option<Arc<Plan>>| plan.as_ref().map(|p| p.variant.merkle_root);
            reach.changed += usize::from(root(&old) != root(&new));
        }
        reach.variants = table.count();
        reach
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

    fn publish(catalog: &Catalog, serial: u64) -> Candidate {
        let candidate = catalog.prepare().unwrap();
        if let Candidate::Ready { digest, .. } = &candidate {
            assert!(catalog.serve(serial, *digest, &[]).is_some());
            catalog.catch_up(&[]);
        }
        candidate
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
        assert!(matches!(publish(&catalog, 1), Candidate::Ready { .. }));
        let (_, good) = variant(&catalog, "web", &debian).unwrap();
        assert_eq!(publish(&catalog, 2), Candidate::Unchanged);

        source.edit(|p| (p.modules, p.errors) = (vec![module("a", "broken")], 3));
        assert!(matches!(publish(&catalog, 2), Candidate::Refused { checked, .. } if checked.errors == 3));
        let (release, unseen) = variant(&catalog, "web", &facts(2, "redhat")).unwrap();
        assert_eq!((release.serial, unseen.modules[0].hash), (1, good.modules[0].hash));

        source.edit(|p| (p.modules, p.errors) = (vec![module("a", "2")], 0));
        assert!(matches!(publish(&catalog, 2), Candidate::Ready { .. }));
        let (release, new) = variant(&catalog, "web", &debian).unwrap();
        assert_eq!((release.serial, release.generation), (2, 2));
        assert_ne!(new.modules[0].hash, good.modules[0].hash);
    }

    #[test]
    fn envoys_with_the_same_footprint_values_share_a_variant() {
        let source = MemoryPolicy::new(vec![module("a", "1")]);
        let catalog = Catalog::new(Box::new(source.clone()));
        publish(&catalog, 1);
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
