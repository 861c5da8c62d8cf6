//! What envoys get from one release: a plan for each class and each set of shared traits, made when the first envoy of its
//! kind needs it.

use crate::fleet::{Facts, Kind};
use crate::policy::{ClassKey, Policy, PolicyError, Variant};
use crate::store::lock;
use crate::tree::Tree;
use ir::manifest::{MAX_BUNDLE_BYTES, MAX_MODULES};
use ir::{Hash, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};

/// Plans and variants that a table holds before it looks for those that no envoy needs any more.
const SWEEP_AT: usize = 1024;

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

/// Why an envoy gets no variant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoVariant {
    /// The policy never compiled since the start.
    #[error("nothing is published yet that the server could serve")]
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
    pub(super) layout: u32,
    /// The class; `None` when no node entry matches.
    pub(super) class: Option<u32>,
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

/// The plans of one release.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) release: Arc<Release>,
    pub(super) tree: Tree,
    pub(super) layout: u32,
    plans: RwLock<Plans>,
    variants: Mutex<HashMap<u32, Vec<Known>>>,
}

/// By class and facts.
#[derive(Debug, Default)]
struct Plans {
    made: HashMap<(u32, u32), (Weak<Facts>, Made)>,
    /// How many there may be before those of facts that no envoy has any more are dropped: an envoy may send other traits
    /// with every check-in.
    sweep_at: usize,
}

/// Variants of a class that were made by reading the same traits.
#[derive(Debug)]
struct Known {
    footprint: Vec<String>,
    by_values: HashMap<Vec<Value>, Arc<Variant>>,
}

impl Table {
    pub(super) fn new(release: Release, tree: Tree, layout: u32) -> Self {
        let plans = RwLock::new(Plans { made: HashMap::new(), sweep_at: SWEEP_AT });
        Table { release: Arc::new(release), tree, layout, plans, variants: Mutex::default() }
    }

    /// What is known without asking the compiler; `None` when it has to be asked.
    pub(super) fn plan(&self, hostname: &str, kind: &Kind) -> Option<Made> {
        let (placed, facts) = (kind.class.filter(|p| p.layout == self.layout)?, kind.facts.as_ref()?);
        match placed.class {
            None => Some(Err(NoVariant::NoEntry(hostname.to_owned()))),
            Some(class) => {
                let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
                plans.made.get(&(class, facts.number)).map(|(_, made)| made.clone())
            }
        }
    }

    /// Asks the compiler, unless another envoy with the same footprint values did.
    pub(super) fn make(&self, policy: &dyn Policy, key: &ClassKey, class: u32, facts: &Arc<Facts>) -> Made {
        let at = (class, facts.number);
        let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = plans.made.get(&at) {
            return known.clone();
        }
        drop(plans);
        let plan = self
            .variant(policy, key, class, &facts.traits)
            .map(|v| Arc::new(Plan::new(self.release.serial, v)));
        let mut plans = self.plans.write().unwrap_or_else(PoisonError::into_inner);
        plans.made.insert(at, (Arc::downgrade(facts), plan.clone()));
        let full = plans.made.len() > plans.sweep_at;
        if full {
            plans.made.retain(|_, (facts, _)| facts.strong_count() > 0);
            plans.sweep_at = (plans.made.len() * 2).max(SWEEP_AT);
        }
        drop(plans);
        if full {
            for known in lock(&self.variants).values_mut().flatten() {
                known.by_values.retain(|_, variant| Arc::strong_count(variant) > 1);
            }
        }
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

impl Table {
    /// How many variants there are so far.
    pub(super) fn count(&self) -> usize {
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
