//! The two signed objects: what an envoy must be, and that this is still current.
//!
//! As TUF separates targets from timestamp: renewing a bundle sends a new [`Lease`], not a new [`Manifest`].

use crate::hash::Hash;
use crate::merkle;
use crate::pb;
use crate::signing::{Domain, EnvelopeError, KeyId, key_id, open, seal, unverified};
use ed25519_dalek::{SigningKey, VerifyingKey};
use prost::Message;

/// Bytes of a signed manifest or lease.
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// Bytes of all modules of a bundle.
pub const MAX_BUNDLE_BYTES: u64 = 64 << 20;
/// Modules of a bundle.
pub const MAX_MODULES: usize = 10_000;

/// What an envoy must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The cluster that signed.
    pub cluster_id: String,
    /// The one envoy this is for.
    pub envoy_id: String,
    /// The signing key.
    pub key_id: KeyId,
    /// Grows with every signing key.
    pub epoch: u64,
    /// Grows per envoy with every new content; never falls, also after a rollback or a restore.
    pub seq: u64,
    /// The release the modules were compiled from.
    pub release_serial: u64,
    /// Identifies the pair (variant, secret versions); equal strings mean an equal bundle.
    pub policy_version: String,
    /// [`crate::IR_FORMAT`] of the compiler.
    pub ir_format: u32,
    /// Root over variables and modules.
    pub merkle_root: Hash,
    /// Hash of the merged variables; their values stay on the server.
    pub vars_hash: Hash,
    /// Sorted by name.
    pub modules: Vec<ModuleRow>,
    /// Indices into `modules` in the order they run.
    pub run_order: Vec<u32>,
    /// Secrets the modules read, sorted by path.
    pub secret_refs: Vec<SecretRef>,
    /// Names an agent must know, or refuse the bundle.
    pub required_features: Vec<String>,
}

/// One module of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleRow {
    /// Its name.
    pub name: String,
    /// SHA-256 of its bytes.
    pub hash: Hash,
    /// How many bytes.
    pub size: u64,
}

/// One secret of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// Path in the secret store.
    pub path: String,
    /// Opaque; a new one when the secret was rotated. Never derived from the secret alone.
    pub version: String,
}

/// That a manifest is still current. All times are milliseconds since 1970-01-01 UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// As in the manifest.
    pub cluster_id: String,
    /// As in the manifest.
    pub envoy_id: String,
    /// The key that signed this lease.
    pub key_id: KeyId,
    /// Its epoch.
    pub epoch: u64,
    /// The manifest's.
    pub seq: u64,
    /// The manifest's.
    pub merkle_root: Hash,
    /// When it was signed.
    pub issued_at: u64,
    /// 0: never.
    pub expires_at: u64,
    /// The nonce of the request this answers; proves that the key is live.
    pub agent_nonce: Vec<u8>,
    /// The server's clock.
    pub server_time: u64,
}

/// Why a signed object is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Signed, but not what it should be.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// Inside the signed bytes stands another key than the one that signed.
    #[error("the signed bytes name another key than the one that signed them")]
    WrongKey,
    /// The modules do not give the root that was signed.
    #[error("the modules do not add up to the signed root")]
    RootMismatch,
}

impl Manifest {
    /// The signed envelope.
    pub fn seal(&self, key: &SigningKey) -> Vec<u8> {
        let message = pb::Manifest {
            cluster_id: self.cluster_id.clone(),
            envoy_id: self.envoy_id.clone(),
            key_id: self.key_id.0.to_vec(),
            epoch: self.epoch,
            seq: self.seq,
            release_serial: self.release_serial,
            policy_version: self.policy_version.clone(),
            ir_format: self.ir_format,
            merkle_root: self.merkle_root.0.to_vec(),
            vars_hash: self.vars_hash.0.to_vec(),
            modules: self
                .modules
                .iter()
                .map(|m| pb::ModuleRow { name: m.name.clone(), hash: m.hash.0.to_vec(), size: m.size })
                .collect(),
            secret_refs: self
                .secret_refs
                .iter()
                .map(|s| pb::SecretRef { path: s.path.clone(), version: s.version.clone() })
                .collect(),
            required_features: self.required_features.clone(),
            run_order: self.run_order.clone(),
        };
        seal(key, Domain::Bundle, &message.encode_to_vec())
    }

    /// Verifies the envelope, then reads it, then checks that rows and root agree.
    pub fn open(key: &VerifyingKey, envelope: &[u8]) -> Result<Self, ManifestError> {
        Self::read(key_id(key), open(key, Domain::Bundle, envelope)?)
    }

    /// Reads the payload of an envelope that names this key.
    fn read(key: KeyId, payload: &[u8]) -> Result<Self, ManifestError> {
        let m = pb::Manifest::decode(bounded(payload)?)
            .map_err(|_| ManifestError::Malformed("not a manifest"))?;
        if m.modules.len() > MAX_MODULES {
            return Err(ManifestError::Malformed("too many modules"));
        }
        let total = m.modules.iter().try_fold(0u64, |sum, row| sum.checked_add(row.size));
        if total.is_none_or(|t| t > MAX_BUNDLE_BYTES) {
            return Err(ManifestError::Malformed("too many bytes"));
        }
        if !m.modules.is_sorted_by(|a, b| a.name < b.name) {
            return Err(ManifestError::Malformed("modules out of order or twice"));
        }
        if !m.secret_refs.is_sorted_by(|a, b| a.path < b.path) {
            return Err(ManifestError::Malformed("secrets out of order or twice"));
        }
        let mut seen = vec![false; m.modules.len()];
        for at in &m.run_order {
            match seen.get_mut(*at as usize) {
                Some(seen @ false) => *seen = true,
                _ => return Err(ManifestError::Malformed("run order")),
            }
        }
        if seen.contains(&false) {
            return Err(ManifestError::Malformed("run order"));
        }
        let manifest = Manifest {
            key_id: hash(&m.key_id)?,
            merkle_root: hash(&m.merkle_root)?,
            vars_hash: hash(&m.vars_hash)?,
            modules: m
                .modules
                .into_iter()
                .map(|r| Ok(ModuleRow { hash: hash(&r.hash)?, name: r.name, size: r.size }))
                .collect::<Result<_, ManifestError>>()?,
            secret_refs: m
                .secret_refs
                .into_iter()
                .map(|s| SecretRef { path: s.path, version: s.version })
                .collect(),
            cluster_id: m.cluster_id,
            envoy_id: m.envoy_id,
            epoch: m.epoch,
            seq: m.seq,
            release_serial: m.release_serial,
            policy_version: m.policy_version,
            ir_format: m.ir_format,
            required_features: m.required_features,
            run_order: m.run_order,
        };
        if manifest.key_id != key {
            return Err(ManifestError::WrongKey);
        }
        if manifest.computed_root() != manifest.merkle_root {
            return Err(ManifestError::RootMismatch);
        }
        Ok(manifest)
    }

    /// The root over the rows as they stand.
    pub fn computed_root(&self) -> Hash {
        merkle::bundle_root(self.vars_hash, self.modules.iter().map(|m| (m.name.as_str(), m.hash)))
    }
}

impl Lease {
    /// The signed envelope.
    pub fn seal(&self, key: &SigningKey) -> Vec<u8> {
        let message = pb::Lease {
            cluster_id: self.cluster_id.clone(),
            envoy_id: self.envoy_id.clone(),
            key_id: self.key_id.0.to_vec(),
            epoch: self.epoch,
            seq: self.seq,
            merkle_root: self.merkle_root.0.to_vec(),
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            agent_nonce: self.agent_nonce.clone(),
            server_time: self.server_time,
        };
        seal(key, Domain::Lease, &message.encode_to_vec())
    }

    /// Verifies the envelope, then reads it. Whether it fits a manifest and the clock is the agent's to
    /// say.
    pub fn open(key: &VerifyingKey, envelope: &[u8]) -> Result<Self, ManifestError> {
        Self::read(key_id(key), open(key, Domain::Lease, envelope)?)
    }

    /// Reads the payload of an envelope that names this key.
    fn read(key: KeyId, payload: &[u8]) -> Result<Self, ManifestError> {
        let l = pb::Lease::decode(bounded(payload)?).map_err(|_| ManifestError::Malformed("not a lease"))?;
        let lease = Lease {
            key_id: hash(&l.key_id)?,
            merkle_root: hash(&l.merkle_root)?,
            cluster_id: l.cluster_id,
            envoy_id: l.envoy_id,
            epoch: l.epoch,
            seq: l.seq,
            issued_at: l.issued_at,
            expires_at: l.expires_at,
            agent_nonce: l.agent_nonce,
            server_time: l.server_time,
        };
        if lease.key_id != key {
            return Err(ManifestError::WrongKey);
        }
        Ok(lease)
    }
}

/// What an envelope says of itself, before anybody asked whether it is true: for showing to people, never to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claims {
    /// It reads as a manifest, and its rows add up to its root.
    Manifest(Manifest),
    /// It reads as a lease.
    Lease(Lease),
}

impl Claims {
    /// Reads an envelope without verifying it. Nothing in it says which of the two it is: the domain stands in what was
    /// signed only. A manifest is recognised by its root, which nothing else has.
    pub fn unverified(envelope: &[u8]) -> Result<Claims, ManifestError> {
        let (key, payload) = unverified(envelope)?;
        match (Manifest::read(key, payload), Lease::read(key, payload)) {
            (Ok(manifest), _) => Ok(Claims::Manifest(manifest)),
            (Err(_), Ok(lease)) => Ok(Claims::Lease(lease)),
            (Err(why), Err(_)) => Err(why),
        }
    }

    /// Whether this key signed the envelope that the claims were read from, as what they were read as.
    pub fn check(&self, key: &VerifyingKey, envelope: &[u8]) -> Result<(), ManifestError> {
        match self {
            Claims::Manifest(_) => Manifest::open(key, envelope).map(drop),
            Claims::Lease(_) => Lease::open(key, envelope).map(drop),
        }
    }
}

fn bounded(payload: &[u8]) -> Result<&[u8], ManifestError> {
    if payload.len() > MAX_MANIFEST_BYTES { Err(ManifestError::Malformed("too large")) } else { Ok(payload) }
}

fn hash(bytes: &[u8]) -> Result<Hash, ManifestError> {
    Hash::from_slice(bytes).ok_or(ManifestError::Malformed("a hash of another length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn manifest() -> Manifest {
        let row = |name: &str| ModuleRow { name: name.into(), hash: Hash::of(name.as_bytes()), size: 9 };
        let mut m = Manifest {
            cluster_id: "c".into(),
            envoy_id: "e".into(),
            key_id: crate::signing::key_id(&key(1).verifying_key()),
            epoch: 3,
            seq: 7,
            release_serial: 2,
            policy_version: "v".into(),
            ir_format: crate::IR_FORMAT,
            merkle_root: Hash::default(),
            vars_hash: Hash::of(b"vars"),
            modules: vec![row("a"), row("b")],
            run_order: vec![1, 0],
            secret_refs: vec![SecretRef { path: "p".into(), version: "1".into() }],
            required_features: vec![],
        };
        m.merkle_root = m.computed_root();
        m
    }

    fn refused(change: impl FnOnce(&mut Manifest)) -> ManifestError {
        let mut m = manifest();
        change(&mut m);
        Manifest::open(&key(1).verifying_key(), &m.seal(&key(1))).unwrap_err()
    }

    #[test]
    fn a_manifest_survives_the_trip() {
        let m = manifest();
        assert_eq!(Manifest::open(&key(1).verifying_key(), &m.seal(&key(1))), Ok(m));
    }

    #[test]
    fn what_does_not_add_up_is_refused_although_it_is_signed() {
        assert_eq!(refused(|m| m.modules[0].hash = Hash::of(b"x")), ManifestError::RootMismatch);
        assert_eq!(refused(|m| m.key_id = Hash::of(b"x")), ManifestError::WrongKey);
        assert_eq!(
            refused(|m| m.modules.swap(0, 1)),
            ManifestError::Malformed("modules out of order or twice")
        );
        let repeated = |m: &mut Manifest| m.modules[1] = m.modules[0].clone();
        assert_eq!(refused(repeated), ManifestError::Malformed("modules out of order or twice"));
        assert_eq!(refused(|m| m.run_order = vec![0, 0]), ManifestError::Malformed("run order"));
        assert_eq!(refused(|m| m.run_order = vec![0]), ManifestError::Malformed("run order"));
        assert_eq!(refused(|m| m.run_order = vec![0, 1, 2]), ManifestError::Malformed("run order"));
        assert_eq!(refused(|m| m.modules[0].size = 65 << 20), ManifestError::Malformed("too many bytes"));
        assert_eq!(refused(|m| m.modules[0].size = u64::MAX), ManifestError::Malformed("too many bytes"));
    }

    fn lease() -> Lease {
        Lease {
            cluster_id: "c".into(),
            envoy_id: "e".into(),
            key_id: crate::signing::key_id(&key(1).verifying_key()),
            epoch: 3,
            seq: 7,
            merkle_root: Hash::default(),
            issued_at: 1,
            expires_at: 0,
            agent_nonce: vec![1; 16],
            server_time: 1,
        }
    }

    #[test]
    fn a_lease_is_no_manifest() {
        let lease = lease();
        let public = key(1).verifying_key();
        let bytes = lease.seal(&key(1));
        assert_eq!(Lease::open(&public, &bytes), Ok(lease));
        assert_eq!(
            Manifest::open(&public, &bytes),
            Err(ManifestError::Envelope(EnvelopeError::BadSignature))
        );
    }
    #[test]
    fn claims_are_read_without_a_key_and_checked_with_one() {
        let (public, other) = (key(1).verifying_key(), key(2).verifying_key());
        let all = [
            (manifest().seal(&key(1)), Claims::Manifest(manifest())),
            (lease().seal(&key(1)), Claims::Lease(lease())),
        ];
        for (mut envelope, expected) in all {
            let claims = Claims::unverified(&envelope).unwrap();
            assert_eq!(claims, expected);
            assert_eq!(claims.check(&public, &envelope), Ok(()));
            assert!(claims.check(&other, &envelope).is_err());
            // a signature of zeros changes nothing of what is claimed
            envelope[37..101].fill(0);
            assert_eq!(Claims::unverified(&envelope), Ok(expected));
            assert_eq!(
                claims.check(&public, &envelope),
                Err(ManifestError::Envelope(EnvelopeError::Unsigned))
            );
            for cut in 0..envelope.len() {
                assert!(Claims::unverified(&envelope[..cut]).is_err());
            }
        }
        let mut forged = manifest();
        forged.key_id = Hash::of(b"x");
        assert_eq!(Claims::unverified(&forged.seal(&key(1))), Err(ManifestError::WrongKey));
    }
}
