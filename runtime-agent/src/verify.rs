//! What makes a bundle trusted. One pure function, asked at every check-in and again at every load from disk.

use crate::clock::Millis;
use crate::store::Marks;
use ir::manifest::ManifestError;
use ir::signing::EnvelopeError;
use ir::{Hash, Lease, Manifest, Module};
use protocol::key_statement::TrustedKey;

/// How far a lease may lie in the future.
const SKEW: Millis = 300_000;
/// How far a sequence may jump; more is a fast-forward attack or a broken server.
const MAX_JUMP: u64 = 1 << 20;
/// Features of the policy language beyond the first, as manifests name them.
pub const FEATURES: &[&str] = &[];

/// Why a bundle is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// There is none.
    #[error("no bundle was received yet")]
    NoBundle,
    /// Older than what was already accepted.
    #[error("rollback: bundle {got} was offered after bundle {have}")]
    Rollback {
        /// Accepted.
        have: u64,
        /// Offered.
        got: u64,
    },
    /// Two contents under one number.
    #[error(
        "equivocation: bundle {seq} has root {} here and {} in the offer; alert whoever runs the server",
        have,
        got
    )]
    Equivocation {
        /// The number.
        seq: u64,
        /// Accepted, in hexadecimal.
        have: String,
        /// Offered.
        got: String,
    },
    /// Far beyond what was accepted.
    #[error(
        "number {got} is offered after {have}: too far ahead to be trusted; if the server is the right one, `vigosrv reset` on it \
         tells all hosts to go on from there"
    )]
    Jump {
        /// Accepted.
        have: u64,
        /// Offered.
        got: u64,
    },
    /// A signing key that a later one replaced.
    #[error("signed by the retired key of epoch {got}; epoch {have} was already seen")]
    RetiredKey {
        /// Seen.
        have: u64,
        /// Offered.
        got: u64,
    },
    /// For another host.
    #[error("the bundle is for envoy {0}")]
    WrongEnvoy(String),
    /// From another cluster.
    #[error("the bundle is from cluster {0}")]
    WrongCluster(String),
    /// No signature.
    #[error("the bundle is not signed")]
    Unsigned,
    /// A key that nothing vouches for.
    #[error("the bundle is signed by an unknown key")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the bundle's signature does not verify")]
    BadSignature,
    /// Modules and root do not agree.
    #[error("the modules do not add up to the signed root")]
    RootMismatch,
    /// The lease belongs to another manifest.
    #[error("the lease is for another bundle than the manifest")]
    LeaseMismatch,
    /// The promise has run out.
    #[error("the bundle expired {} ago", crate::text::span(now.saturating_sub(*expired_at)))]
    Expired {
        /// When.
        expired_at: Millis,
        /// Now.
        now: Millis,
    },
    /// From the future.
    #[error("the bundle is issued {} in the future; is the clock right?", crate::text::span(issued_at.saturating_sub(*now)))]
    NotYetValid {
        /// When.
        issued_at: Millis,
        /// Now.
        now: Millis,
    },
    /// Not the answer to this request.
    #[error("the lease does not answer this request (its nonce is another one)")]
    NonceMismatch,
    /// A format of another time.
    #[error("format {0} is not known to this agent; upgrade it")]
    UnsupportedFormat(u32),
    /// Something that this agent cannot do.
    #[error("the bundle needs `{0}`, which this agent does not know; upgrade it")]
    UnknownFeature(String),
    /// Not a bundle.
    #[error("malformed: {0}")]
    Malformed(String),
    /// A module that is listed is not here.
    #[error("module `{0}` is not here")]
    MissingModule(String),
    /// Bytes that are not what the manifest says.
    #[error("module `{0}` is damaged")]
    DamagedModule(String),
}

impl From<ManifestError> for VerifyError {
    fn from(error: ManifestError) -> Self {
        match error {
            ManifestError::Envelope(EnvelopeError::Unsigned) => VerifyError::Unsigned,
            ManifestError::Envelope(EnvelopeError::UnknownKey { .. }) | ManifestError::WrongKey => {
                VerifyError::UnknownKey
            }
            ManifestError::Envelope(EnvelopeError::BadSignature) => VerifyError::BadSignature,
            ManifestError::Envelope(EnvelopeError::Version(v)) => VerifyError::UnsupportedFormat(v.into()),
            ManifestError::Envelope(EnvelopeError::Malformed) => {
                VerifyError::Malformed("not a signed envelope".to_owned())
            }
            ManifestError::Malformed(what) => VerifyError::Malformed(what.to_owned()),
            ManifestError::RootMismatch => VerifyError::RootMismatch,
        }
    }
}

/// Everything the judgement depends on.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The pinned cluster.
    pub cluster_id: &'a str,
    /// This envoy.
    pub envoy_id: &'a str,
    /// Signed envelope.
    pub manifest: &'a [u8],
    /// The key that the manifest's statement vouches for.
    pub manifest_key: &'a TrustedKey,
    /// Signed envelope.
    pub lease: &'a [u8],
    /// The key that the lease's statement vouches for.
    pub lease_key: &'a TrustedKey,
    /// Epochs that the newest statement lists beside its own.
    pub live_epochs: &'a [u64],
    /// What was accepted so far.
    pub marks: &'a Marks,
    /// See [`effective_now`].
    pub now: Millis,
    /// Of the request that this answers. A lease that answers it brings the server's clock, which then is the time.
    pub nonce: Option<&'a [u8]>,
    /// Module bytes, by the hash they are said to have.
    pub blob: &'a dyn Fn(&Hash) -> Option<&'a [u8]>,
}

/// A bundle that may be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// What the envoy must be.
    pub manifest: Manifest,
    /// That this is still current.
    pub lease: Lease,
    /// In the order they run.
    pub modules: Vec<Module>,
}

/// A clock set back does not make it earlier than it was known to be.
pub fn effective_now(wall: Millis, floor: Millis) -> Millis {
    wall.max(floor)
}

/// How far behind what the server said before a clock is that cannot be right: that of a host without a battery, say, which
/// starts in 1970.
pub fn behind(wall: Millis, floor: Millis) -> Option<Millis> {
    floor.checked_sub(wall).filter(|behind| *behind > SKEW)
}

/// The bundle, if every reason to refuse it is absent.
pub fn verify_bundle(inputs: &Inputs<'_>) -> Result<Verified, VerifyError> {
    let manifest = verify_manifest(inputs)?;
    let lease = verify_lease(inputs, &manifest)?;
    let modules = verify_modules(&manifest, inputs.blob)?;
    Ok(Verified { manifest, lease, modules })
}

fn verify_manifest(inputs: &Inputs<'_>) -> Result<Manifest, VerifyError> {
    let manifest = Manifest::open(&inputs.manifest_key.key, inputs.manifest)?;
    if manifest.cluster_id != inputs.cluster_id {
        return Err(VerifyError::WrongCluster(crate::text::printable(&manifest.cluster_id)));
    }
    if manifest.envoy_id != inputs.envoy_id {
        return Err(VerifyError::WrongEnvoy(crate::text::printable(&manifest.envoy_id)));
    }
    if manifest.epoch != inputs.manifest_key.epoch {
        return Err(VerifyError::Malformed("the manifest's epoch is not that of its key".to_owned()));
    }
    if manifest.ir_format != ir::IR_FORMAT {
        return Err(VerifyError::UnsupportedFormat(manifest.ir_format));
    }
    if let Some(feature) = manifest.required_features.iter().find(|f| !FEATURES.contains(&f.as_str())) {
        return Err(VerifyError::UnknownFeature(crate::text::printable(feature)));
    }
    let marks = inputs.marks;
    if manifest.seq < marks.seq {
        return Err(VerifyError::Rollback { have: marks.seq, got: manifest.seq });
    }
    if marks.seq > 0 && manifest.seq - marks.seq > MAX_JUMP {
        return Err(VerifyError::Jump { have: marks.seq, got: manifest.seq });
    }
    let root = manifest.merkle_root.to_string();
    if manifest.seq == marks.seq && !marks.root.is_empty() && root != marks.root {
        return Err(VerifyError::Equivocation { seq: marks.seq, have: marks.root.clone(), got: root });
    }
    Ok(manifest)
}

fn verify_lease(inputs: &Inputs<'_>, manifest: &Manifest) -> Result<Lease, VerifyError> {
    let lease = Lease::open(&inputs.lease_key.key, inputs.lease)?;
    if lease.cluster_id != inputs.cluster_id {
        return Err(VerifyError::WrongCluster(crate::text::printable(&lease.cluster_id)));
    }
    if lease.envoy_id != inputs.envoy_id {
        return Err(VerifyError::WrongEnvoy(crate::text::printable(&lease.envoy_id)));
    }
    if lease.epoch != inputs.lease_key.epoch {
        return Err(VerifyError::Malformed("the lease's epoch is not that of its key".to_owned()));
    }
    if lease.epoch < inputs.marks.min_epoch {
        return Err(VerifyError::RetiredKey { have: inputs.marks.min_epoch, got: lease.epoch });
    }
    if lease.epoch < inputs.marks.epoch && !inputs.live_epochs.contains(&lease.epoch) {
        return Err(VerifyError::RetiredKey { have: inputs.marks.epoch, got: lease.epoch });
    }
    if lease.seq != manifest.seq || lease.merkle_root != manifest.merkle_root {
        return Err(VerifyError::LeaseMismatch);
    }
    let now = match inputs.nonce {
        Some(nonce) if nonce != lease.agent_nonce => return Err(VerifyError::NonceMismatch),
        Some(_) => lease.server_time,
        None => inputs.now,
    };
    if lease.issued_at > now.saturating_add(SKEW) {
        return Err(VerifyError::NotYetValid { issued_at: lease.issued_at, now });
    }
    if lease.expires_at != 0 && now >= lease.expires_at {
        return Err(VerifyError::Expired { expired_at: lease.expires_at, now });
    }
    Ok(lease)
}

fn verify_modules<'a>(
    manifest: &Manifest,
    blob: &dyn Fn(&Hash) -> Option<&'a [u8]>,
) -> Result<Vec<Module>, VerifyError> {
    let shown = |name: &str| crate::text::printable(name);
    let mut modules = Vec::with_capacity(manifest.run_order.len());
    for row in manifest.run_order.iter().filter_map(|at| manifest.modules.get(*at as usize)) {
        let bytes = blob(&row.hash).ok_or_else(|| VerifyError::MissingModule(shown(&row.name)))?;
        if bytes.len() as u64 != row.size || Hash::of(bytes) != row.hash {
            return Err(VerifyError::DamagedModule(shown(&row.name)));
        }
        let module = ir::wire::decode_module(bytes)
            .map_err(|e| VerifyError::Malformed(format!("module `{}`: {e}", shown(&row.name))))?;
        if *module.name != *row.name {
            return Err(VerifyError::Malformed(format!(
                "module `{}` calls itself otherwise",
                shown(&row.name)
            )));
        }
        modules.push(module);
    }
    Ok(modules)
}

#[cfg(test)]
mod tests;
