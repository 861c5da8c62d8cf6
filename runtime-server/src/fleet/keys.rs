//! Which keys an envoy may come with, and how a certificate stands with it.

use crate::certified::Certified;
use crate::store::certificates::Certificates;
use ed25519_dalek::VerifyingKey;

/// How a certificate stands with an envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In use.
    Current,
    /// Issued to the envoy, and used for the first time: in use from now on.
    New,
    /// The one before; it is let in for a while.
    Previous,
    /// The one before, or an older one.
    Replaced,
    /// Not this envoy's.
    Stranger,
}

/// The keys an envoy may come with.
#[derive(Debug)]
pub(super) struct Keys {
    current: VerifyingKey,
    /// Begin of the newest certificate that was issued to it.
    issued_at: u64,
    /// Of a certificate that it has not used yet.
    next: Option<Box<VerifyingKey>>,
    /// The one before, and until when it is let in.
    previous: Option<Box<(VerifyingKey, u64)>>,
}

impl Keys {
    pub(super) fn new(current: &[u8; 32], certificates: &Certificates) -> Option<Self> {
        let key = |bytes: &[u8; 32]| VerifyingKey::from_bytes(bytes).ok();
        let next = certificates.next.as_ref();
        let issued_at =
            next.map_or(0, |(_, certificate)| certificate.issued_at).max(certificates.current.issued_at);
        Some(Keys {
            current: key(current)?,
            issued_at,
            next: next.and_then(|(bytes, _)| key(bytes)).map(Box::new),
            previous: certificates
                .previous
                .as_ref()
                .and_then(|(bytes, until)| Some(Box::new((key(bytes)?, *until)))),
        })
    }

    /// How a certificate of the envoy `id` stands with it now. One that the CA issued to this envoy later than any that is known
    /// here was issued by another server, or before the database was restored from a backup.
    pub(super) fn standing(&self, id: &str, certified: &Certified, now: u64) -> Standing {
        if certified.key == self.current {
            return Standing::Current;
        }
        if self.next.as_deref() == Some(&certified.key) {
            return Standing::New;
        }
        match self.previous.as_deref() {
            Some((key, until)) if *key == certified.key && now < *until => Standing::Previous,
            _ if !certified.names(id) => Standing::Stranger,
            _ if certified.issued_at > self.issued_at => Standing::New,
            _ => Standing::Replaced,
        }
    }

    /// A certificate was issued to it, with that begin.
    pub(super) fn set_next(&mut self, key: VerifyingKey, issued_at: u64) {
        self.next = Some(Box::new(key));
        self.issued_at = self.issued_at.max(issued_at);
    }
}
