//! The release that is served, and its variants.
//!
//! Two copies of the policy are held: one is served, the other takes a change in first. A change with errors
//! stays in the second copy, so the first can go on to compile variants for hosts it has not seen yet.

use crate::policy::{Checked, ClassKey, Policy, PolicyError, PolicySource, Variant};
use crate::store::lock;
use ir::manifest::{MAX_BUNDLE_BYTES, MAX_MODULES};
use ir::{Hash, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

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

/// See the module.
pub struct Catalog {
    source: Box<dyn PolicySource>,
    next: Mutex<Option<Box<dyn Policy>>>,
    served: Mutex<Option<Served>>,
    /// Of `served`, for those who only want to know whether anything changed.
    release: RwLock<Option<Arc<Release>>>,
}

struct Served {
    policy: Box<dyn Policy>,
    release: Arc<Release>,
    variants: HashMap<ClassKey, Vec<Known>>,
}

/// Variants of a class that were made by reading the same traits.
struct Known {
    footprint: Vec<String>,
    by_values: HashMap<Vec<Value>, Arc<Variant>>,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("release", &self.release()).finish_non_exhaustive()
    }
}

impl Catalog {
    /// With nothing served yet.
    pub fn new(source: Box<dyn PolicySource>) -> Self {
        Catalog { source, next: Mutex::default(), served: Mutex::default(), release: RwLock::default() }
    }

    /// What is served.
    pub fn release(&self) -> Option<Arc<Release>> {
        self.release.read().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// Serves what [`Catalog::prepare`] found ready. False when it was changed in between.
    pub fn serve(&self, serial: u64, digest: Hash) -> bool {
        let mut next = lock(&self.next);
        let Some(policy) = next.take_if(|p| p.digest() == digest) else { return false };
        let mut served = lock(&self.served);
        let generation = self.release().map_or(1, |r| r.generation + 1);
        let release = Arc::new(Release { serial, generation, digest });
        let before = served.replace(Served { policy, release: release.clone(), variants: HashMap::new() });
        *self.release.write().unwrap_or_else(PoisonError::into_inner) = Some(release);
        drop(served);
        // Up to date, so that it tells the next change apart from this one. A failure shows at the next
        // change too.
        *next = match before {
            Some(before) => Some(before.policy).and_then(|mut p| p.refresh().ok().map(|_| p)),
            None => self.source.open().ok(),
        };
        true
    }

    /// The variant for an envoy, compiled unless one with the same footprint values is known. Blocks.
    pub fn variant(&self, hostname: &str, traits: &Value) -> Result<(Arc<Release>, Arc<Variant>), NoVariant> {
        let mut served = lock(&self.served);
        let served = served.as_mut().ok_or(NoVariant::NoRelease)?;
        let class =
            served.policy.class_of(hostname).ok_or_else(|| NoVariant::NoEntry(hostname.to_owned()))?;
        let known = served.variants.entry(class.clone()).or_default();
        let hit = known.iter().find_map(|k| k.by_values.get(&values(&k.footprint, traits)));
        if let Some(variant) = hit {
            return Ok((served.release.clone(), variant.clone()));
        }
        let variant = served.policy.variant(&class, traits)?;
        check_size(&variant)?;
        let values = values(&variant.footprint, traits);
        match known.iter_mut().find(|k| k.footprint == variant.footprint) {
            Some(k) => k.by_values.insert(values, variant.clone()),
            None => {
                let by_values = HashMap::from([(values, variant.clone())]);
                known.push(Known { footprint: variant.footprint.clone(), by_values });
                None
            }
        };
        Ok((served.release.clone(), variant))
    }

    /// How many variants the release has so far.
    pub fn variants(&self) -> usize {
        let served = lock(&self.served);
        served.iter().flat_map(|s| s.variants.values().flatten()).map(|k| k.by_values.len()).sum()
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
            assert!(catalog.serve(serial, *digest));
        }
        candidate
    }

    #[test]
    fn a_policy_with_errors_leaves_the_last_good_one_at_work() {
        let source = MemoryPolicy::new(vec![module("a", "1")]);
        let catalog = Catalog::new(Box::new(source.clone()));
        let debian = traits("debian");
        assert_eq!(catalog.variant("web", &debian).unwrap_err(), NoVariant::NoRelease);
        assert!(matches!(publish(&catalog, 1), Candidate::Ready { .. }));
        let (_, good) = catalog.variant("web", &debian).unwrap();
        assert_eq!(publish(&catalog, 2), Candidate::Unchanged);

        source.edit(|p| (p.modules, p.errors) = (vec![module("a", "broken")], 3));
        assert!(matches!(publish(&catalog, 2), Candidate::Refused { checked, .. } if checked.errors == 3));
        let (release, unseen) = catalog.variant("web", &traits("redhat")).unwrap();
        assert_eq!((release.serial, unseen.modules[0].hash), (1, good.modules[0].hash));

        source.edit(|p| (p.modules, p.errors) = (vec![module("a", "2")], 0));
        assert!(matches!(publish(&catalog, 2), Candidate::Ready { .. }));
        let (release, new) = catalog.variant("web", &debian).unwrap();
        assert_eq!((release.serial, release.generation), (2, 2));
        assert_ne!(new.modules[0].hash, good.modules[0].hash);
    }

    #[test]
    fn envoys_with_the_same_footprint_values_share_a_variant() {
        let source = MemoryPolicy::new(vec![module("a", "1")]);
        let catalog = Catalog::new(Box::new(source.clone()));
        publish(&catalog, 1);
        for _ in 0..5 {
            catalog.variant("web", &traits("debian")).unwrap();
            catalog.variant("db", &traits("debian")).unwrap();
        }
        assert_eq!((source.compiled(), catalog.variants()), (1, 1));
        catalog.variant("web", &traits("redhat")).unwrap();
        assert_eq!((source.compiled(), catalog.variants()), (2, 2));
        let stranger = catalog.variant("nobody", &traits("debian")).unwrap_err();
        assert_eq!(stranger, NoVariant::NoEntry("nobody".into()));
    }
}
