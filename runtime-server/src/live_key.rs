//! The key that signs bundles while this process runs, and the statement that makes agents trust it.

use crate::clock::Clock;
use crate::pki::{self, PkiError};
use crate::store::{Store, StoreError, meta};
use ed25519_dalek::SigningKey;
use ir::signing::{KeyId, key_id};
use protocol::key_statement::{self, Claims};
use protocol::pb::KeyStatement;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// A statement holds from a little before it is made, for agents whose clocks are behind.
const CLOCK_TOLERANCE_MS: u64 = 300_000;
/// Far away: what ends a key is a higher epoch. A cached bundle is checked with the statement beside it
/// for as long as its lease runs.
const STATEMENT_LIFE_MS: u64 = 10 * 365 * 86_400_000;
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
    current: RwLock<Arc<LiveKey>>,
    replacing: tokio::sync::Mutex<()>,
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
        let live = live(cluster_id, &signer, key, 0, store, &clock).await?;
        Ok(KeyRing {
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

    /// Makes sure that the key's epoch is above one that an agent has seen: after a database was restored, the old
    /// number would be taken for a rollback.
    pub async fn lift_above(&self, reported: u64, store: &Store) -> Result<Arc<LiveKey>, KeyError> {
        let _one_at_a_time = self.replacing.lock().await;
        let known = self.current();
        if reported <= known.epoch {
            return Ok(known);
        }
        if reported - known.epoch > MAX_JUMP {
            return Err(KeyError::Jump { known: known.epoch, reported });
        }
        if self.fixed {
            return Err(KeyError::Fixed { known: known.epoch, reported });
        }
        let live = Arc::new(
            live(&self.cluster_id, &self.signer, pki::new_key()?, reported + 1, store, &self.clock).await?,
        );
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = live.clone();
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
    key: SigningKey,
    at_least: u64,
    store: &Store,
    clock: &Clock,
) -> Result<LiveKey, KeyError> {
    let id = key_id(&key.verifying_key());
    let epoch = store.call(move |conn| meta::next_epoch(conn, id, at_least)).await?;
    let now = clock.now();
    let claims = Claims {
        cluster_id: cluster_id.to_owned(),
        epoch,
        not_before: now.saturating_sub(CLOCK_TOLERANCE_MS),
        not_after: now.saturating_add(STATEMENT_LIFE_MS),
        live_epochs: Vec::new(),
    };
    let statement = key_statement::issue(&signer.key, &signer.certificate, &key, claims);
    Ok(LiveKey { key, id, epoch, statement })
}
