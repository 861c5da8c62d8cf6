//! The index of all envoys, in memory: what the answer to an unchanged check-in is made from.
//!
//! Rebuilt from the store at the start; what changes with every request goes back in batches.

use crate::policy::Variant;
use crate::store::envoys::{EnvoyRow, Seen};
use crate::store::lock;
use ed25519_dalek::VerifyingKey;
use ir::Hash;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// An envoy at work.
#[derive(Debug)]
pub struct Envoy {
    /// UUID.
    pub id: Arc<str>,
    /// Lower-case.
    pub hostname: String,
    /// Its requests and its certificate are of this key.
    pub key: VerifyingKey,
    /// Its secrets are sealed to this one.
    pub seal_key: [u8; 32],
    revoked: AtomicBool,
    window: Mutex<Window>,
    /// Locked for the whole of a check-in, so that two of one envoy do not cross.
    pub state: tokio::sync::Mutex<State>,
}

/// What the server knows of an envoy.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Its traits as it sent them.
    pub traits: Option<Arc<[u8]>>,
    /// SHA-256 of them.
    pub traits_digest: Hash,
    /// Whether they were stored.
    pub traits_stored: bool,
    /// What it gets, while neither release nor traits change.
    pub plan: Option<Plan>,
    /// Of its content.
    pub seq: u64,
    /// Identifies its content.
    pub content: String,
    /// Last told to it.
    pub policy_version: String,
    /// Its last request.
    pub last_seen: u64,
    /// When it was told to come back.
    pub interval_ms: u64,
    /// What it said it was.
    pub agent_version: String,
}

/// A variant, and what it was chosen by.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of the release.
    pub generation: u64,
    /// The release's.
    pub serial: u64,
    /// Of the traits.
    pub traits_digest: Hash,
    /// The variant.
    pub variant: Arc<Variant>,
}

/// Counters that were used: the highest and the 64 below it. Requests of one agent may overtake each
/// other, but none is taken twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    highest: u64,
    below: u64,
}

impl Window {
    /// After a restart: nothing up to `highest` is taken again.
    pub fn after(highest: u64) -> Self {
        Window { highest, below: u64::MAX }
    }

    /// Whether a counter is new; then it is used from now on. 0 never is.
    pub fn take(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            let shift = counter - self.highest;
            // The old highest becomes a bit below the new one.
            self.below = match shift {
                1..=63 => (self.below << shift) | (1 << (shift - 1)),
                64 => 1 << 63,
                _ => 0,
            };
            self.highest = counter;
            return true;
        }
        let distance = self.highest - counter;
        if distance == 0 || distance > 64 || counter == 0 {
            return false;
        }
        let bit = 1 << (distance - 1);
        let new = self.below & bit == 0;
        self.below |= bit;
        new
    }
}

impl Envoy {
    /// From its row; `None` when the row's key is none.
    pub fn new(row: EnvoyRow) -> Option<Self> {
        let traits_digest = row.traits.as_deref().map(Hash::of).unwrap_or_default();
        Some(Envoy {
            key: VerifyingKey::from_bytes(&row.public_key).ok()?,
            id: row.id.into(),
            hostname: row.hostname,
            seal_key: row.seal_key,
            revoked: AtomicBool::new(row.revoked_at.is_some()),
            window: Mutex::new(Window::after(row.counter)),
            state: tokio::sync::Mutex::new(State {
                traits: row.traits.map(Into::into),
                traits_digest,
                traits_stored: true,
                plan: None,
                seq: row.seq,
                content: row.content,
                policy_version: row.policy_version,
                last_seen: row.last_seen.unwrap_or(0),
                interval_ms: row.interval_ms,
                agent_version: row.agent_version,
            }),
        })
    }

    /// Whether its place was taken away.
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::SeqCst)
    }

    /// Uses up a counter; false when it was used before.
    pub fn take_counter(&self, counter: u64) -> bool {
        lock(&self.window).take(counter)
    }

    /// The highest counter used.
    pub fn counter(&self) -> u64 {
        lock(&self.window).highest
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct FleetIndex {
    envoys: RwLock<HashMap<Arc<str>, Arc<Envoy>>>,
    dirty: Mutex<HashSet<Arc<str>>>,
}

impl FleetIndex {
    /// From the store.
    pub fn load(rows: Vec<EnvoyRow>) -> Self {
        let index = FleetIndex::default();
        rows.into_iter().for_each(|row| index.add(row));
        index
    }

    /// One that was not known. One that is stays as it is: it knows which counters were used.
    pub fn add(&self, row: EnvoyRow) {
        let id = row.id.clone();
        match Envoy::new(row) {
            Some(envoy) => {
                let mut envoys = self.envoys.write().unwrap_or_else(PoisonError::into_inner);
                envoys.entry(envoy.id.clone()).or_insert_with(|| Arc::new(envoy));
            }
            None => tracing::error!(envoy = id, "the stored key of an envoy is not a key; it was left out"),
        }
    }

    /// By id.
    pub fn get(&self, id: &str) -> Option<Arc<Envoy>> {
        self.envoys.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// How many there are, revoked ones included.
    pub fn len(&self) -> usize {
        self.envoys.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes places away; the ids that had one.
    pub fn revoke(&self, ids: &[String]) -> Vec<String> {
        ids.iter()
            .filter(|id| self.get(id).is_some_and(|e| !e.revoked.swap(true, Ordering::SeqCst)))
            .cloned()
            .collect()
    }

    /// Remembers that there is something to store.
    pub fn touch(&self, envoy: &Envoy) {
        lock(&self.dirty).insert(envoy.id.clone());
    }

    /// What is to be stored since the last time.
    pub async fn drain(&self) -> Vec<Seen> {
        let ids = std::mem::take(&mut *lock(&self.dirty));
        let mut batch = Vec::with_capacity(ids.len());
        for envoy in ids.iter().filter_map(|id| self.get(id)) {
            let mut state = envoy.state.lock().await;
            let traits = match &state.traits {
                Some(traits) if !state.traits_stored => Some(traits.to_vec()),
                _ => None,
            };
            state.traits_stored = true;
            batch.push(Seen {
                id: envoy.id.to_string(),
                counter: envoy.counter(),
                last_seen: state.last_seen,
                interval_ms: state.interval_ms,
                agent_version: state.agent_version.clone(),
                policy_version: state.policy_version.clone(),
                traits,
            });
        }
        batch
    }

    /// Takes back what could not be stored.
    pub async fn put_back(&self, batch: &[Seen]) {
        for envoy in batch.iter().filter_map(|seen| self.get(&seen.id)) {
            envoy.state.lock().await.traits_stored = false;
            self.touch(&envoy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_036_a_counter_is_taken_once() {
        let mut window = Window::default();
        assert!(!window.take(0));
        for counter in [1, 2, 5, 4, 3, 70, 69, 7, 6, 1000, 936, 10_000_000, u64::MAX] {
            assert!(window.take(counter), "{counter}");
            assert!(!window.take(counter), "{counter} again");
        }
        assert!(!window.take(5), "too old to know");
    }

    #[test]
    fn the_window_agrees_with_a_set() {
        let (mut window, mut used, mut highest) = (Window::default(), HashSet::new(), 0u64);
        let mut random = 1u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let counter = (highest + (random >> 33) % 100).saturating_sub(60);
            let known = counter > highest || highest - counter <= 64;
            let expected = counter != 0 && known && !used.contains(&counter);
            assert_eq!(window.take(counter), expected, "{counter} after {highest}");
            used.insert(counter);
            highest = highest.max(counter);
        }
    }

    #[test]
    fn after_a_restart_nothing_old_is_taken() {
        let mut window = Window::after(500);
        for counter in 430..=500 {
            assert!(!window.take(counter));
        }
        assert!(window.take(502) && window.take(501));
    }
}
