//! The key that signs bundles while this process runs, and the statement that makes agents trust it.

use crate::clock::Clock;
use crate::pki::{self, PkiError};
use crate::store::servers::{self, Registered};
use crate::store::{Store, StoreError, meta};
use ed25519_dalek::SigningKey;
use ir::Hash;
use ir::signing::{KeyId, key_id};
use protocol::key_statement::{self, Claims};
use protocol::pb::KeyStatement;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A statement holds from a little before it is made, for agents whose clocks are behind.
const CLOCK_TOLERANCE_MS: u64 = 300_000;
/// Far away: what ends a key is a higher epoch. A cached bundle is checked with the statement beside it
/// for as long as its lease runs.
const STATEMENT_LIFE_MS: u64 = 10 * 365 * 86_400_000;
/// Time between two keys that are made because of agents.
const LIFT_EVERY: Duration = Duration::from_secs(60);
/// How far an agent's word may lift an epoch or a sequence number at once.
pub const MAX_JUMP: u64 = 1 << 20;

/// What goes wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The epoch.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// An agent knows a much later epoch; somebody lies or nearly everything was lost.
    #[error("epoch {reported} is too far ahead of {known}")]
    Jump {
        /// The server's.
        known: u64,
        /// The agent's.
        reported: u64,
    },
    /// An agent says that it knows a later epoch, and shows nothing for it.
    #[error("an agent claims to have seen epoch {reported}, and its proof does not hold")]
    Unproven {
        /// The agent's.
        reported: u64,
    },
    /// It was done a moment ago.
    #[error(
        "the signing key was replaced less than a minute ago; it is not replaced again for epoch {reported} yet"
    )]
    TooSoon {
        /// The agent's.
        reported: u64,
    },
    /// The key is fixed, so agents cannot be told about another one.
    #[error(
        "an agent knows epoch {reported}, later than {known}, and the key comes from a file: \
         put a new key into `signing.key_file` and restart"
    )]
    Fixed {
        /// The server's.
        known: u64,
        /// The agent's.
        reported: u64,
    },
}

/// The signer identity: certified by the CA, speaks for every key.
pub struct SignerIdentity {
    /// Its key.
    pub key: SigningKey,
    /// DER.
    pub certificate: Vec<u8>,
}

impl SignerIdentity {
    /// What versions of secrets are made with: the same at all servers of the cluster, and not in the database, so that nobody
    /// who reads that can try values against the versions in it.
    pub fn secret_version_key(&self) -> [u8; 32] {
        Hash::of_parts(&[b"vigo/secret-version/v1", self.key.as_bytes()]).0
    }
}

impl fmt::Debug for SignerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignerIdentity").finish_non_exhaustive()
    }
}

/// A key at work.
pub struct LiveKey {
    /// Signs manifests and leases.
    pub key: SigningKey,
    /// Its id.
    pub id: KeyId,
    /// Its epoch.
    pub epoch: u64,
    /// Why to trust it.
    pub statement: KeyStatement,
    /// Number of the reset that the statement brings along; 0 for none.
    pub reset: u64,
}

impl fmt::Debug for LiveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveKey").field("id", &self.id).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Holds the current key and replaces it when an agent has seen a later epoch.
#[derive(Debug)]
pub struct KeyRing {
    cluster_id: String,
    signer: SignerIdentity,
    fixed: bool,
    clock: Clock,
    /// Names this run of this server in the database.
    instance_id: String,
    current: RwLock<Arc<LiveKey>>,
    /// The highest epoch that a server of this cluster is known to have.
    highest: AtomicU64,
    /// When a key was last made because of what an agent had seen.
    replacing: tokio::sync::Mutex<Option<Instant>>,
}

impl KeyRing {
    /// With the key of a file, or else with a fresh one.
    pub async fn start(
        cluster_id: &str,
        signer: SignerIdentity,
        from_file: Option<SigningKey>,
        store: &Store,
        clock: Clock,
    ) -> Result<Self, KeyError> {
        let fixed = from_file.is_some();
        let key = match from_file {
            Some(key) => key,
            None => pki::new_key()?,
        };
        let instance_id = Uuid::now_v7().to_string();
        let live = live(cluster_id, &signer, &instance_id, key, 0, store, &clock).await?;
        Ok(KeyRing {
            instance_id,
            highest: AtomicU64::new(live.epoch),
            cluster_id: cluster_id.to_owned(),
            signer,
            fixed,
            clock,
            current: RwLock::new(Arc::new(live)),
            replacing: tokio::sync::Mutex::default(),
        })
    }

    /// The key to sign with.
    pub fn current(&self) -> Arc<LiveKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether an epoch was given out by this database: to this server, or to another one that agents met.
    pub async fn is_ours(&self, epoch: u64, store: &Store) -> Result<bool, StoreError> {
        if epoch > self.highest.load(Ordering::Relaxed) {
            self.say_up(store).await?;
        }
        Ok(epoch <= self.highest.load(Ordering::Relaxed))
    }

    /// Tells the others that this server is up. False when they took it for dead.
    async fn say_up(&self, store: &Store) -> Result<bool, StoreError> {
        let (id, now) = (self.instance_id.clone(), self.clock.now());
        let highest = store.call(move |conn| servers::beat(conn, &id, now)).await?;
        self.highest.fetch_max(highest.unwrap_or(0), Ordering::Relaxed);
        Ok(highest.is_some())
    }

    /// Tells the others that this server is up, every few seconds. If they took it for dead, agents may have been told
    /// that its key is retired, so it gets a new one.
    pub async fn beat(&self, store: &Store) -> Result<(), KeyError> {
        if self.say_up(store).await? {
            return Ok(());
        }
        let _one_at_a_time = self.replacing.lock().await;
        // It may have been replaced, and so registered, while this waited.
        if self.say_up(store).await? {
            return Ok(());
        }
        let known = self.current();
        let key = if self.fixed { known.key.clone() } else { pki::new_key()? };
        let live = self.replace(key, 0, store).await?;
        tracing::warn!(
            epoch = live.epoch,
            same_key = self.fixed,
            "this server was silent for so long that others took it for dead; it is registered again"
        );
        Ok(())
    }

    /// Tells the others that this server goes down.
    pub async fn leave(&self, store: &Store) -> Result<(), StoreError> {
        let id = self.instance_id.clone();
        store.call(move |conn| servers::leave(conn, &id)).await
    }

    /// Takes in a reset that `vigosrv reset` wrote down: a new key of an epoch that it allows, unless the key is fixed, and a
    /// statement that brings it to every agent.
    pub async fn notice_reset(&self, store: &Store) -> Result<(), KeyError> {
        let stored = store.read(meta::reset).await?;
        let number = stored.map_or(0, |(reset, _)| reset.number);
        if number <= self.current().reset {
            return Ok(());
        }
        let _one_at_a_time = self.replacing.lock().await;
        let known = self.current();
        if number <= known.reset {
            return Ok(());
        }
        let key = if self.fixed { known.key.clone() } else { pki::new_key()? };
        let live = self.replace(key, 0, store).await?;
        tracing::warn!(epoch = live.epoch, reset = number, "agents were told to begin anew at this epoch");
        Ok(())
    }

    async fn replace(&self, key: SigningKey, at_least: u64, store: &Store) -> Result<Arc<LiveKey>, KeyError> {
        let live = live(&self.cluster_id, &self.signer, &self.instance_id, key, at_least, store, &self.clock)
            .await?;
        let live = Arc::new(live);
        self.highest.fetch_max(live.epoch, Ordering::Relaxed);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = live.clone();
        Ok(live)
    }

    /// Makes sure that the key's epoch is above one that an agent has proven to have seen: after a database was restored, the old
    /// number would be taken for a rollback.
    pub async fn lift_above(&self, reported: u64, store: &Store) -> Result<Arc<LiveKey>, KeyError> {
        let mut lifted = self.replacing.lock().await;
        let known = self.current();
        if reported <= known.epoch || self.is_ours(reported, store).await? {
            return Ok(known);
        }
        if lifted.is_some_and(|at| at.elapsed() < LIFT_EVERY) {
            return Err(KeyError::TooSoon { reported });
        }
        if reported - known.epoch > MAX_JUMP {
            return Err(KeyError::Jump { known: known.epoch, reported });
        }
        if self.fixed {
            return Err(KeyError::Fixed { known: known.epoch, reported });
        }
        let live = self.replace(pki::new_key()?, reported + 1, store).await?;
        *lifted = Some(Instant::now());
        tracing::warn!(
            known = known.epoch,
            reported,
            epoch = live.epoch,
            "an envoy has seen a later epoch than this database: was a backup restored? a new signing key was made"
        );
        Ok(live)
    }
}

async fn live(
    cluster_id: &str,
    signer: &SignerIdentity,
    instance_id: &str,
    key: SigningKey,
    at_least: u64,
    store: &Store,
    clock: &Clock,
) -> Result<LiveKey, KeyError> {
    let id = key_id(&key.verifying_key());
    let (instance_id, now) = (instance_id.to_owned(), clock.now());
    let registered = store.call(move |conn| {
        conn.transaction(|conn| {
            let reset = meta::reset(conn)?;
            let at_least = at_least.max(reset.as_ref().map_or(0, |(reset, _)| reset.min_epoch));
            Ok((servers::register(conn, &instance_id, id, at_least, now)?, reset))
        })
    });
    let (Registered { epoch, live }, reset) = registered.await?;
    let (number, reset) = reset.map(|(reset, statement)| (reset.number, statement)).unzip();
    let claims = Claims {
        cluster_id: cluster_id.to_owned(),
        epoch,
        not_before: now.saturating_sub(CLOCK_TOLERANCE_MS),
        not_after: now.saturating_add(STATEMENT_LIFE_MS),
        live_epochs: live,
    };
    let statement = key_statement::issue(&signer.key, &signer.certificate, &key, claims);
    Ok(LiveKey { key, id, epoch, statement: KeyStatement { reset, ..statement }, reset: number.unwrap_or(0) })
}
