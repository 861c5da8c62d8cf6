//! How many connections there may be at the same time, in all, of strangers and of each envoy.

use super::Peer;
use super::activity::Activity;
use crate::certified::Certified;
use crate::limits::Limits;
use crate::store::lock;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// How many connections there are, and whose.
#[derive(Default)]
pub(super) struct Gate {
    pub(super) open: AtomicUsize,
    strangers: AtomicUsize,
    /// By the key of the certificate, oldest first.
    envoys: Mutex<HashMap<[u8; 32], Vec<Arc<Activity>>>>,
}

impl Gate {
    pub(super) fn take(self: &Arc<Self>, most: usize) -> Option<Place> {
        let taken = self.open.fetch_add(1, Ordering::AcqRel);
        // Dropped, it gives back what it took.
        let place = Place { gate: self.clone(), holder: Holder::Handshake };
        (taken < most).then_some(place)
    }
}

/// The place of a connection; free again when it is dropped.
pub(super) struct Place {
    gate: Arc<Gate>,
    holder: Holder,
}

enum Holder {
    Handshake,
    Stranger,
    Envoy([u8; 32], Arc<Activity>),
}

impl Place {
    /// Knows now whose it is. False when there is no place for another stranger; an envoy always gets one, and its
    /// oldest connection is closed when that makes too many: an agent that lost its way to a dead one must not be
    /// kept waiting by it.
    pub(super) fn settle(&mut self, peer: &Peer, activity: &Arc<Activity>, limits: &Limits) -> bool {
        let Peer::Envoy(Certified { key, .. }) = peer else {
            self.holder = Holder::Stranger;
            return self.gate.strangers.fetch_add(1, Ordering::AcqRel) < limits.strangers;
        };
        self.holder = Holder::Envoy(key.to_bytes(), activity.clone());
        let mut envoys = lock(&self.gate.envoys);
        let own = envoys.entry(key.to_bytes()).or_default();
        own.push(activity.clone());
        if own.len() > limits.per_envoy {
            own.remove(0).close.notify_one();
        }
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.open.fetch_sub(1, Ordering::AcqRel);
        match &self.holder {
            Holder::Handshake => {}
            Holder::Stranger => drop(self.gate.strangers.fetch_sub(1, Ordering::AcqRel)),
            Holder::Envoy(key, activity) => {
                let mut envoys = lock(&self.gate.envoys);
                if let Some(own) = envoys.get_mut(key) {
                    own.retain(|other| !Arc::ptr_eq(other, activity));
                    if own.is_empty() {
                        envoys.remove(key);
                    }
                }
            }
        }
    }
}
