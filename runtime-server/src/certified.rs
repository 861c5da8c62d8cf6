//! What a client certificate says of whoever came with it.

use crate::store::certificates::Certificate;
use ed25519_dalek::VerifyingKey;
use protocol::certificate::facts;
use uuid::Uuid;

/// A certificate that the CA issued for a key of an envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certified {
    /// Whoever holds it.
    pub key: VerifyingKey,
    /// The envoy that it was issued to; `None` when its name is no id.
    pub envoy: Option<Uuid>,
    /// Begin of its validity: milliseconds since 1970-01-01 UTC, full seconds.
    pub issued_at: u64,
    /// Its end.
    pub expires_at: u64,
}

impl Certified {
    /// From DER; `None` when it is not for an ed25519 key. The handshake has verified who issued it.
    pub fn read(der: &[u8]) -> Option<Self> {
        let key = protocol::ed25519_key(der)?;
        let facts = facts(der)?;
        let envoy = facts.name.and_then(|name| Uuid::try_parse(&name).ok());
        Some(Certified { key, envoy, issued_at: facts.not_before, expires_at: facts.not_after })
    }

    /// What is stored of it; the serial number is known of those that this database saw.
    pub fn record(&self) -> Certificate {
        Certificate { serial: String::new(), issued_at: self.issued_at, expires_at: self.expires_at }
    }

    /// Whether it was issued to that envoy.
    pub fn names(&self, envoy_id: &str) -> bool {
        self.envoy.is_some_and(|id| id.to_string() == envoy_id)
    }
}
