//! From hosts to variants: envoys are put together before anything is compiled.

use crate::diagnostic::json;
use crate::facts::shared_traits;
use crate::policy::{ClassKey, Policy, Variant, VariantError};
use crate::resolve::class::{entry, resolved_class};
use crate::resolve::glob::normal;
use ir::Value;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// One host of a fleet.
#[derive(Clone, Debug)]
pub struct Member {
    /// Lower case, no trailing dot.
    pub hostname: String,
    /// Nested.
    pub traits: Arc<Value>,
}

/// Shared traits, sorted by path.
type Shared = Vec<(Arc<str>, Value)>;

/// A fleet, with hosts that agree on all shared traits put together.
#[derive(Debug, Default)]
pub struct Fleet {
    /// By name.
    pub members: Vec<Member>,
    /// For each member the number of its shared traits.
    traits: Vec<u32>,
    /// Distinct shared traits: a host that has them, and they.
    distinct: Vec<(Arc<Value>, Shared)>,
}

/// What a policy is for one envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// Number in [`Survey::variants`].
    Variant(u32),
    /// Number in [`Survey::refused`].
    Refused(u32),
    /// No entry matches.
    NoEntry,
}

/// What a policy is for a fleet.
#[derive(Debug, Default)]
pub struct Survey {
    /// For each member of the fleet.
    pub fates: Vec<Fate>,
    /// Distinct variants, each with the number of its entry.
    pub variants: Vec<(Arc<Variant>, u32)>,
    /// Why there is no variant.
    pub refused: Vec<Refused>,
    /// Entries that match a member.
    pub entries: Vec<Entry>,
    /// Texts of the files that findings of `refused` are in.
    pub texts: json::Texts,
}

/// Why some envoys of an entry have no variant.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The number of the entry.
    pub entry: u32,
    /// Why.
    pub error: VariantError,
}

/// A node entry, for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its file.
    pub file: Arc<str>,
    /// Its line, from 1.
    pub line: usize,
    /// Its patterns.
    pub patterns: Vec<Arc<str>>,
    /// Its environment.
    pub environment: Option<Arc<str>>,
}

impl Fleet {
    /// Puts hosts with equal shared traits together.
    pub fn new(members: Vec<Member>) -> Fleet {
        let mut by_value: FxHashMap<*const Value, u32> = FxHashMap::default();
        let mut by_traits: FxHashMap<Shared, u32> = FxHashMap::default();
        let mut out = Fleet::default();
        for member in &members {
            // hosts that were read with the same text share the value
            let number = *by_value.entry(Arc::as_ptr(&member.traits)).or_insert_with(|| {
                let shared = shared_traits(&member.traits);
                *by_traits.entry(shared).or_insert_with_key(|shared| {
                    out.distinct.push((member.traits.clone(), shared.clone()));
                    (out.distinct.len() - 1) as u32
                })
            });
            out.traits.push(number);
        }
        out.members = members;
        out
    }
}

/// Variants by class, each made once for the traits that it looks at.
#[derive(Debug, Default)]
pub struct Variants {
    made: FxHashMap<ClassKey, Vec<Made>>,
    /// How many were made.
    pub count: usize,
}

#[derive(Debug)]
struct Made {
    looked_at: Vec<(Arc<str>, Option<Value>)>,
    variant: Arc<Variant>,
}

impl Variants {
    /// The variant of a class for a host with these traits, all of them and the shared ones.
    pub fn of(
        &mut self,
        policy: &Policy,
        class: &ClassKey,
        traits: &Value,
        shared: &[(Arc<str>, Value)],
    ) -> Result<Arc<Variant>, VariantError> {
        let value = |path: &str| shared.iter().find(|(known, _)| **known == *path).map(|(_, value)| value);
        let made = self.made.entry(class.clone()).or_default();
        let fits = |m: &&Made| m.looked_at.iter().all(|(path, known)| value(path) == known.as_ref());
        if let Some(made) = made.iter().find(fits) {
            return Ok(made.variant.clone());
        }
        let variant = policy.variant(class, traits)?;
        let looked_at =
            variant.footprint.iter().map(|path| (path.as_str().into(), value(path).cloned())).collect();
        made.push(Made { looked_at, variant: variant.clone() });
        self.count += 1;
        Ok(variant)
    }
}

/// What became of the envoys of one class: for each kind of traits a variant or a refusal.
type Judged = Vec<(u32, Result<Arc<Variant>, VariantError>)>;

impl Survey {
    /// Compiles a policy for a fleet, on every core.
    pub fn of(policy: &Policy, fleet: &Fleet) -> Survey {
        let mut classes: Vec<ClassKey> = Vec::new();
        let mut numbers: FxHashMap<ClassKey, u32> = FxHashMap::default();
        // for each class the kinds of traits that its envoys have, in the order in which they come
        let mut kinds: Vec<Vec<u32>> = Vec::new();
        let mut of_member: Vec<Option<u32>> = Vec::with_capacity(fleet.members.len());
        for (member, traits) in fleet.members.iter().zip(&fleet.traits) {
            let class = policy.class_of(&member.hostname).map(|key| {
                *numbers.entry(key).or_insert_with_key(|key| {
                    classes.push(key.clone());
                    kinds.push(Vec::new());
                    (classes.len() - 1) as u32
                })
            });
            if let Some(known) = class.and_then(|class| kinds.get_mut(class as usize))
                && !known.contains(traits)
            {
                known.push(*traits);
            }
            of_member.push(class);
        }
        let work: Vec<(&ClassKey, &[u32])> = classes.iter().zip(kinds.iter().map(Vec::as_slice)).collect();
        let judged = policy.each(&work, |policy, (class, kinds)| judge(policy, fleet, class, kinds));
        let mut out = Survey {
            entries: classes.iter().map(|key| described(policy, key)).collect(),
            ..Survey::default()
        };
        let mut fates: FxHashMap<(u32, u32), Fate> = FxHashMap::default();
        for (class, judged) in judged.into_iter().enumerate() {
            out.add(class as u32, judged, &mut fates);
        }
        if !out.refused.is_empty() {
            out.texts = policy.texts();
        }
        out.fates = of_member
            .iter()
            .zip(&fleet.traits)
            .map(|(class, traits)| match class {
                Some(class) => fates.get(&(*class, *traits)).copied().unwrap_or(Fate::NoEntry),
                None => Fate::NoEntry,
            })
            .collect();
        out
    }

    fn add(&mut self, class: u32, judged: Judged, fates: &mut FxHashMap<(u32, u32), Fate>) {
        // of this class only: a class has few
        let (mut made, mut refused): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        for (traits, result) in judged {
            let fate = match result {
                Ok(variant) => {
                    let known = made.iter().copied().find(|at| {
                        self.variants.get(*at as usize).is_some_and(|(known, _)| Arc::ptr_eq(known, &variant))
                    });
                    let at = known.unwrap_or_else(|| {
                        self.variants.push((variant, class));
                        let at = (self.variants.len() - 1) as u32;
                        made.push(at);
                        at
                    });
                    Fate::Variant(at)
                }
                Err(error) => {
                    let said = error.to_string();
                    let known = refused.iter().copied().find(|at| {
                        self.refused.get(*at as usize).is_some_and(|r| r.error.to_string() == said)
                    });
                    let at = known.unwrap_or_else(|| {
                        self.refused.push(Refused { entry: class, error });
                        let at = (self.refused.len() - 1) as u32;
                        refused.push(at);
                        at
                    });
                    Fate::Refused(at)
                }
            };
            fates.insert((class, traits), fate);
        }
    }

    /// The variant behind a fate.
    pub fn variant(&self, fate: Fate) -> Option<&Arc<Variant>> {
        match fate {
            Fate::Variant(at) => self.variants.get(at as usize).map(|(variant, _)| variant),
            Fate::Refused(_) | Fate::NoEntry => None,
        }
    }

    /// The entry behind a fate.
    pub fn entry(&self, fate: Fate) -> Option<&Entry> {
        let at = match fate {
            Fate::Variant(at) => self.variants.get(at as usize).map(|(_, entry)| *entry),
            Fate::Refused(at) => self.refused.get(at as usize).map(|r| r.entry),
            Fate::NoEntry => None,
        };
        self.entries.get(at? as usize)
    }
}

fn judge(policy: &Policy, fleet: &Fleet, class: &ClassKey, kinds: &[u32]) -> Judged {
    let mut variants = Variants::default();
    let known = kinds.iter().filter_map(|at| Some((*at, fleet.distinct.get(*at as usize)?)));
    known.map(|(at, (traits, shared))| (at, variants.of(policy, class, traits, shared))).collect()
}

fn described(policy: &Policy, key: &ClassKey) -> Entry {
    let (db, project) = policy.queries();
    let class = policy.class(key);
    let patterns = class.and_then(|class| entry(db, class));
    let patterns = patterns
        .map(|e| e.patterns.iter().map(|(name, _)| Arc::from(normal(&name.text))))
        .map(Iterator::collect);
    let at = class.map_or(0, |class| resolved_class(db, project, class).place.span.start);
    Entry {
        file: key.file.clone(),
        line: json::line(policy.text(&key.file).as_ref(), at),
        patterns: patterns.unwrap_or_default(),
        environment: key.environment.clone(),
    }
}
