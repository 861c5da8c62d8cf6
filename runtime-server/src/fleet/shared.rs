//! What many envoys have in common, held once.

use ir::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// Shared traits, held once for all envoys that have the same: what else a host says of itself is in the store alone.
#[derive(Debug)]
pub struct Facts {
    /// Tells them from others while this process runs.
    pub number: u32,
    /// Nested, as the envoy sent them.
    pub traits: Value,
}

/// All different shared traits.
#[derive(Debug, Default)]
pub(super) struct KnownFacts {
    by_traits: HashMap<Value, Arc<Facts>>,
    next: u32,
    /// How many there may be before those that no envoy has any more are dropped.
    sweep_at: usize,
}

impl KnownFacts {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_traits.len()
    }

    pub(super) fn one(&mut self, traits: Value) -> Arc<Facts> {
        if let Some(known) = self.by_traits.get(&traits) {
            return known.clone();
        }
        if self.by_traits.len() >= self.sweep_at {
            self.by_traits.retain(|_, facts| Arc::strong_count(facts) > 1);
            self.sweep_at = (self.by_traits.len() * 2).max(1024);
        }
        self.next += 1;
        let facts = Arc::new(Facts { number: self.next, traits: traits.clone() });
        self.by_traits.insert(traits, facts.clone());
        facts
    }
}

/// Equal texts of many rows, held once.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, Arc<str>>);

impl Names {
    /// More than this many different ones are not worth the search.
    const MOST: usize = 4096;

    pub(super) fn one(&mut self, text: &str) -> Arc<str> {
        match self.0.get(text) {
            Some(one) => one.clone(),
            None => {
                let one: Arc<str> = text.into();
                if self.0.len() < Self::MOST {
                    self.0.insert(text.to_owned(), one.clone());
                }
                one
            }
        }
    }
}
