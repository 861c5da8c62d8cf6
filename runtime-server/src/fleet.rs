//! The index of all envoys, in memory: what the answer to an unchanged check-in is made from.
//!
//! Rebuilt from the store at the start; what changes with every request goes back in batches.

mod keys;
mod shared;

pub use keys::Standing;
pub use shared::Facts;

use crate::catalog::Placed;
use crate::certified::Certified;
use crate::counter_window::Window;
use crate::policy;
use crate::store::certificates::Certificates;
use crate::store::envoys::EnvoyRow;
use crate::store::lock;
use crate::store::seen::{Asked, Seen};
use crate::trait_changes::TraitChanges;
use ed25519_dalek::VerifyingKey;
use ir::{Hash, Value};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use keys::Keys;
use shared::{KnownFacts, Names};

/// An envoy at work.
#[derive(Debug)]
pub struct Envoy {
    /// UUID.
    pub id: Arc<str>,
    /// Lower-case.
    pub hostname: String,
    /// Its secrets are sealed to this one.
    pub seal_key: [u8; 32],
    revoked: AtomicBool,
    /// Whether it is in the list of those with something to store.
    waits: AtomicBool,
    window: Mutex<Window>,
    trait_changes: Mutex<TraitChanges>,
    /// Its requests and its certificates are of these.
    keys: Mutex<Keys>,
    /// Decides what it gets. Held for moments only.
    kind: Mutex<Kind>,
    /// Held for the whole of a check-in, so that two of one envoy do not cross.
    pub turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

/// What decides which variant an envoy gets.
#[derive(Clone, Debug, Default)]
pub struct Kind {
    /// Its shared traits; `None` before it sent any.
    pub facts: Option<Arc<Facts>>,
    /// Its class, as the policy had it when somebody last asked.
    pub class: Option<Placed>,
}

/// What the server knows of an envoy.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// SHA-256 of its traits as it sent them.
    pub traits_digest: Hash,
    /// The traits themselves until they are stored.
    pub unsaved: Option<Arc<[u8]>>,
    /// Somebody asked for its bundle to be sent again.
    pub forced: bool,
    /// Of its content.
    pub seq: u64,
    /// Identifies its content.
    pub content: Arc<str>,
    /// Last told to it.
    pub policy_version: Arc<str>,
    /// Its last request.
    pub last_seen: u64,
    /// When it was told to come back.
    pub interval_ms: u64,
    /// What it said it was.
    pub agent_version: Arc<str>,
    /// The two above are of a check-in here and not stored yet; otherwise the store may know better.
    pub asked: bool,
    /// The same of `policy_version`.
    pub told: bool,
}

impl Envoy {
    /// From its row; `None` when the row's key is none.
    fn new(row: EnvoyRow, facts: Option<Arc<Facts>>, names: &mut Names) -> Option<Self> {
        Some(Envoy {
            keys: Mutex::new(Keys::new(&row.public_key, &row.certificates)?),
            id: row.id.into(),
            hostname: row.hostname,
            seal_key: row.seal_key,
            revoked: AtomicBool::new(row.revoked_at.is_some()),
            waits: AtomicBool::new(false),
            window: Mutex::new(Window::after(row.counter)),
            trait_changes: Mutex::default(),
            kind: Mutex::new(Kind { facts, class: None }),
            turn: tokio::sync::Mutex::default(),
            state: Mutex::new(State {
                traits_digest: row.traits.as_deref().map(Hash::of).unwrap_or_default(),
                unsaved: None,
                forced: false,
                seq: row.seq,
                content: names.one(&row.content),
                policy_version: names.one(&row.policy_version),
                last_seen: row.last_seen.unwrap_or(0),
                interval_ms: row.interval_ms,
                agent_version: names.one(&row.agent_version),
                asked: false,
                told: false,
            }),
        })
    }

    /// What the server knows of it. To be held for moments only, by nobody who waits for anything: batches are
    /// stored, revocations noticed and the fleet counted by threads that come here for every envoy.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// How a certificate stands with it now.
    pub fn standing(&self, certified: &Certified, now: u64) -> Standing {
        lock(&self.keys).standing(&self.id, certified, now)
    }

    /// A certificate was issued to it, with that begin.
    pub fn set_next(&self, key: VerifyingKey, issued_at: u64) {
        lock(&self.keys).set_next(key, issued_at);
    }

    /// What is stored of its certificates now.
    pub fn set_keys(&self, current: &[u8; 32], certificates: &Certificates) {
        match Keys::new(current, certificates) {
            Some(keys) => *lock(&self.keys) = keys,
            None => {
                tracing::error!(envoy = %self.id, "the stored key of an envoy is not a key; it is left as it was")
            }
        }
    }

    /// What decides which variant it gets.
    pub fn kind(&self) -> Kind {
        lock(&self.kind).clone()
    }

    /// Whether its traits are known.
    pub fn has_facts(&self) -> bool {
        lock(&self.kind).facts.is_some()
    }

    /// Its traits are others now.
    pub fn set_facts(&self, facts: Arc<Facts>) {
        lock(&self.kind).facts = Some(facts);
    }

    /// Where the policy has it.
    pub fn set_class(&self, class: Placed) {
        lock(&self.kind).class = Some(class);
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
        lock(&self.window).highest()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct FleetIndex {
    envoys: RwLock<HashMap<Arc<str>, Arc<Envoy>>>,
    /// Ids that were revoked and are not in `envoys`: one may be on its way there, read before it was revoked. Locked
    /// before `envoys`.
    revoked: Mutex<HashSet<String>>,
    facts: Mutex<KnownFacts>,
    names: Mutex<Names>,
    dirty: Mutex<Vec<Arc<Envoy>>>,
}

impl FleetIndex {
    /// Those of the store.
    pub fn extend(&self, rows: Vec<EnvoyRow>) {
        rows.into_iter().for_each(|row| self.add(row));
    }

    /// One that was not known. One that is stays as it is: it knows which counters were used. One that was revoked
    /// after its row was read comes in as revoked.
    pub fn add(&self, row: EnvoyRow) {
        let id = row.id.clone();
        let traits = row.traits.as_deref().and_then(|traits| ir::wire::decode_value(traits).ok());
        let facts = traits.map(|traits| self.facts(&traits));
        let envoy = Envoy::new(row, facts, &mut lock(&self.names));
        match envoy {
            Some(envoy) => {
                let mut revoked = lock(&self.revoked);
                if revoked.remove(&*envoy.id) {
                    envoy.revoked.store(true, Ordering::SeqCst);
                }
                let mut envoys = self.envoys.write().unwrap_or_else(PoisonError::into_inner);
                envoys.entry(envoy.id.clone()).or_insert_with(|| Arc::new(envoy));
            }
            None => tracing::error!(envoy = id, "the stored key of an envoy is not a key; it was left out"),
        }
    }

    /// What all envoys with these shared traits hold together.
    pub fn facts(&self, traits: &Value) -> Arc<Facts> {
        let shared = policy::shared(traits);
        lock(&self.facts).one(shared)
    }

    /// Takes in what an envoy says of itself now; false, and nothing is taken, when what it shares with others changes
    /// too often.
    pub fn take_facts(&self, envoy: &Envoy, traits: &Value, now: Instant) -> bool {
        let shared = policy::shared(traits);
        if let Some(known) = envoy.kind().facts {
            if known.traits == shared {
                return true;
            }
            if !lock(&envoy.trait_changes).allow(now) {
                return false;
            }
        }
        envoy.set_facts(lock(&self.facts).one(shared));
        true
    }

    /// By id.
    pub fn get(&self, id: &str) -> Option<Arc<Envoy>> {
        self.read().get(id).cloned()
    }

    /// Those that were not revoked, in no order.
    pub fn active(&self) -> Vec<Arc<Envoy>> {
        self.read().values().filter(|e| !e.is_revoked()).cloned().collect()
    }

    /// How many there are, revoked ones included.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Arc<str>, Arc<Envoy>>> {
        self.envoys.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets one that the store does not know any more; whatever it has open here ends.
    pub fn remove(&self, id: &str) {
        let mut envoys = self.envoys.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(envoy) = envoys.remove(id) {
            envoy.revoked.store(true, Ordering::SeqCst);
            tracing::error!(
                envoy = %envoy.id, host = envoy.hostname,
                "an envoy is not in the database any more: was a backup restored? it has to be enrolled again"
            );
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes places away; the ids that had one.
    pub fn revoke(&self, ids: &[String]) -> Vec<String> {
        let mut revoked = lock(&self.revoked);
        let mut took = Vec::new();
        for id in ids {
            match self.get(id) {
                Some(envoy) if !envoy.revoked.swap(true, Ordering::SeqCst) => took.push(id.clone()),
                Some(_) => {}
                None => {
                    revoked.insert(id.clone());
                }
            }
        }
        took
    }

    /// Remembers that there is something to store.
    pub fn touch(&self, envoy: &Arc<Envoy>) {
        if !envoy.waits.swap(true, Ordering::AcqRel) {
            lock(&self.dirty).push(envoy.clone());
        }
    }

    /// What is to be stored since the last time, by id: rows that lie together are written together.
    pub fn drain(&self) -> Vec<Seen> {
        let envoys = std::mem::take(&mut *lock(&self.dirty));
        let mut batch = Vec::with_capacity(envoys.len());
        for envoy in envoys {
            // Before the look: what changes from here on is stored the next time.
            envoy.waits.store(false, Ordering::Release);
            let mut state = envoy.state();
            batch.push(Seen {
                id: envoy.id.to_string(),
                counter: envoy.counter(),
                last_seen: state.last_seen,
                asked: std::mem::take(&mut state.asked).then(|| Asked {
                    interval_ms: state.interval_ms,
                    agent_version: state.agent_version.to_string(),
                }),
                policy_version: std::mem::take(&mut state.told).then(|| state.policy_version.to_string()),
                // It stays until it is stored: there is always one place that has it.
                traits: state.unsaved.as_ref().map(|traits| traits.to_vec()),
            });
        }
        batch.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        batch
    }

    /// What was drained is stored.
    pub fn stored(&self, batch: &[Seen]) {
        for (id, traits) in batch.iter().filter_map(|seen| Some((&seen.id, seen.traits.as_deref()?))) {
            let Some(envoy) = self.get(id) else { continue };
            let mut state = envoy.state();
            if state.unsaved.as_deref() == Some(traits) {
                state.unsaved = None;
            }
        }
    }

    /// Traits that may not be stored yet, by id. To be asked for before the store is.
    pub fn unsaved(&self) -> HashMap<String, Vec<u8>> {
        let envoys = self.read();
        let of = |envoy: &Arc<Envoy>| Some((envoy.id.to_string(), envoy.state().unsaved.as_ref()?.to_vec()));
        envoys.values().filter_map(of).collect()
    }

    /// Takes back what could not be stored.
    pub fn put_back(&self, batch: Vec<Seen>) {
        for seen in batch {
            let Some(envoy) = self.get(&seen.id) else { continue };
            let mut state = envoy.state();
            if state.unsaved.is_none()
                && let Some(traits) = seen.traits
            {
                state.unsaved = Some(traits.into());
            }
            state.asked |= seen.asked.is_some();
            state.told |= seen.policy_version.is_some();
            drop(state);
            self.touch(&envoy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole fleet is held in memory: whoever adds a field adds it a million times.
    #[test]
    fn an_envoy_takes_no_more_room_than_before() {
        assert!(size_of::<Envoy>() <= 560, "{}", size_of::<Envoy>());
    }

    use ed25519_dalek::SigningKey;

    fn row(n: u8, family: &str) -> EnvoyRow {
        let key = ed25519_dalek::SigningKey::from_bytes(&[n; 32]).verifying_key();
        EnvoyRow {
            id: format!("e{n}"),
            hostname: format!("h{n}"),
            public_key: key.to_bytes(),
            seal_key: [n; 32],
            enrolled_at: 0,
            revoked_at: None,
            counter: 0,
            seq: 1,
            content: "c".into(),
            policy_version: "1.1.c".into(),
            traits: Some(ir::wire::encode_value(&crate::testing::traits(family)).unwrap()),
            last_seen: None,
            interval_ms: 0,
            agent_version: "1".into(),
            acknowledged_seq: 0,
            certificates: Certificates::default(),
        }
    }

    fn certified(n: u8, envoy: Option<u128>, issued_at: u64) -> Certified {
        let key = SigningKey::from_bytes(&[n; 32]).verifying_key();
        Certified { key, envoy: envoy.map(uuid::Uuid::from_u128), issued_at, expires_at: u64::MAX }
    }

    #[test]
    fn a_certificate_stands_with_its_own_envoy_only_and_old_ones_fade() {
        let key = |n: u8| SigningKey::from_bytes(&[n; 32]).verifying_key().to_bytes();
        let id = uuid::Uuid::from_u128(5).to_string();
        let mut row = EnvoyRow { id: id.clone(), public_key: key(1), ..row(1, "debian") };
        row.certificates.current.issued_at = 1000;
        let index = FleetIndex::default();
        index.add(row);
        let envoy = index.get(&id).unwrap();
        let standing = |n, issued_at, now| envoy.standing(&certified(n, Some(5), issued_at), now);
        assert_eq!(standing(1, 1000, 0), Standing::Current);
        assert_eq!(standing(2, 1000, 0), Standing::Replaced, "issued no later than the one in use");
        assert_eq!(standing(2, 2000, 0), Standing::New, "newer than all that is known: a restored database");
        assert_eq!(envoy.standing(&certified(2, Some(6), 2000), 0), Standing::Stranger);
        assert_eq!(envoy.standing(&certified(2, None, 2000), 0), Standing::Stranger);

        envoy.set_next(certified(3, None, 0).key, 3000);
        assert_eq!((standing(3, 3000, 0), standing(1, 1000, 0)), (Standing::New, Standing::Current));
        assert_eq!(standing(2, 2000, 0), Standing::Replaced, "a newer one is known");

        let stored = Certificates { previous: Some((key(1), 500)), ..Certificates::default() };
        envoy.set_keys(&key(3), &stored);
        assert_eq!((standing(3, 3000, 0), standing(1, 0, 499)), (Standing::Current, Standing::Previous));
        assert_eq!(standing(1, 0, 500), Standing::Replaced);
        let no_key =
            (0..=255u8).map(|n| [n; 32]).find(|bytes| VerifyingKey::from_bytes(bytes).is_err()).unwrap();
        envoy.set_keys(&no_key, &stored);
        assert_eq!(standing(3, 3000, 0), Standing::Current, "a damaged row changes nothing");
    }

    #[test]
    fn equal_hosts_hold_their_traits_together() {
        let index = FleetIndex::default();
        index.extend(vec![row(1, "debian"), row(2, "rhel"), row(3, "debian")]);
        let facts = |id| index.get(id).unwrap().kind().facts.unwrap();
        assert!(Arc::ptr_eq(&facts("e1"), &facts("e3")));
        assert_ne!(facts("e1").number, facts("e2").number);
        index.get("e2").unwrap().set_facts(index.facts(&crate::testing::traits("debian")));
        assert!(Arc::ptr_eq(&facts("e1"), &facts("e2")));
        for n in 0..5000 {
            index.facts(&crate::testing::traits(&n.to_string()));
        }
        assert!(lock(&index.facts).len() < 2100, "traits of nobody are dropped");
    }

    #[test]
    fn what_could_not_be_stored_is_kept_and_nothing_newer_is_overwritten() {
        let index = FleetIndex::default();
        index.extend(vec![row(1, "debian"), row(2, "debian")]);
        for id in ["e2", "e1", "e1"] {
            let envoy = index.get(id).unwrap();
            envoy.state().unsaved = Some(id.as_bytes().into());
            index.touch(&envoy);
        }
        let batch = index.drain();
        let ids: Vec<&str> = batch.iter().map(|seen| seen.id.as_str()).collect();
        assert_eq!(ids, ["e1", "e2"]);
        assert!(index.drain().is_empty());
        index.get("e2").unwrap().state().unsaved = Some(b"newer".as_slice().into());
        index.put_back(batch);
        let traits: Vec<_> = index.drain().into_iter().map(|seen| seen.traits.unwrap()).collect();
        assert_eq!(traits, [b"e1".to_vec(), b"newer".to_vec()]);
    }

    #[test]
    fn only_what_a_check_in_said_here_is_stored_and_again_when_it_could_not_be() {
        let index = FleetIndex::default();
        index.extend(vec![row(1, "debian")]);
        let envoy = index.get("e1").unwrap();
        let drain = || {
            index.touch(&envoy);
            index.drain()
        };
        let said = |seen: &[Seen]| (seen[0].asked.is_some(), seen[0].policy_version.is_some());
        assert_eq!(said(&drain()), (false, false), "a report, or a heartbeat");
        envoy.state().asked = true;
        let batch = drain();
        assert_eq!(said(&batch), (true, false), "it was refused");
        index.put_back(batch);
        envoy.state().told = true;
        assert_eq!(said(&drain()), (true, true));
        assert_eq!(said(&drain()), (false, false));
    }

    #[test]
    fn case_034_an_envoy_that_was_revoked_while_its_row_was_read_comes_in_revoked() {
        let index = FleetIndex::default();
        assert!(index.revoke(&["e1".to_owned()]).is_empty());
        index.extend(vec![row(1, "debian"), row(2, "debian")]);
        assert!(index.get("e1").unwrap().is_revoked() && !index.get("e2").unwrap().is_revoked());
        assert_eq!(index.revoke(&["e1".to_owned(), "e2".to_owned()]), ["e2"]);
    }

    #[test]
    fn who_is_gone_from_the_store_is_gone_from_here() {
        let index = FleetIndex::default();
        index.extend(vec![row(1, "debian")]);
        let envoy = index.get("e1").unwrap();
        index.remove("e1");
        assert!(index.get("e1").is_none() && envoy.is_revoked());
        index.extend(vec![row(1, "debian")]);
        assert!(!index.get("e1").unwrap().is_revoked(), "it is back, with the database it was in");
    }

    #[test]
    fn shared_traits_that_change_all_the_time_are_not_taken() {
        let index = FleetIndex::default();
        index.extend(vec![row(1, "debian")]);
        let (envoy, now) = (index.get("e1").unwrap(), Instant::now());
        let take = |family: &str| index.take_facts(&envoy, &crate::testing::traits(family), now);
        let taken = (0..100).filter(|n| take(&n.to_string())).count();
        assert_eq!(taken, crate::trait_changes::MOST as usize);
        assert!(take("9"), "what it has stays");
        assert_eq!(lock(&index.facts).len(), 11);
    }
}
