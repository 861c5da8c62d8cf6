//! Secrets on their way to one envoy: HPKE in base mode (RFC 9180) with X25519, HKDF-SHA256 and
//! ChaCha20-Poly1305.
//!
//! The context is authenticated with each secret, so a sealed secret cannot be presented as another
//! one, as another version, or to another envoy that happened to have the same key.

use crate::length_prefixed;
use crate::pb::SealedSecret;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

type Aead = hpke::aead::ChaCha20Poly1305;
type Kdf = hpke::kdf::HkdfSha256;
type X25519 = hpke::kem::X25519HkdfSha256;

const INFO: &[u8] = b"vigo/secret/v1";

/// Bytes of a secret.
pub const MAX_SECRET_BYTES: usize = 1 << 20;

/// What a sealed secret is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretContext<'a> {
    /// The cluster.
    pub cluster_id: &'a str,
    /// The one envoy.
    pub envoy_id: &'a str,
    /// Path in the secret store.
    pub path: &'a str,
    /// As in the manifest's `secret_refs`.
    pub version: &'a str,
}

impl SecretContext<'_> {
    fn associated_data(&self) -> Vec<u8> {
        let fields = [self.cluster_id, self.envoy_id, self.path, self.version];
        length_prefixed(&fields.map(str::as_bytes))
    }
}

/// Why a secret was not sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Not an X25519 key, or one that gives everybody the same secret.
    #[error("the sealing key is not a usable X25519 key")]
    Key,
    /// Too long to be a secret.
    #[error("a secret has more than {MAX_SECRET_BYTES} bytes")]
    TooLarge,
    /// Path or version beside the ciphertext are not those of the context.
    #[error("the sealed secret is another one than was asked for")]
    Other,
    /// The ciphertext does not open with this key and this context.
    #[error("the sealed secret does not open")]
    Sealed,
}

/// A new pair: private, public.
pub fn generate() -> (Zeroizing<[u8; 32]>, [u8; 32]) {
    let (private, public) = X25519::gen_keypair();
    (Zeroizing::new(private.to_bytes().into()), public.to_bytes().into())
}

/// Seals `plaintext` to an envoy's key.
pub fn seal(
    public: &[u8; 32],
    context: &SecretContext<'_>,
    plaintext: &[u8],
) -> Result<SealedSecret, SecretError> {
    if plaintext.len() > MAX_SECRET_BYTES {
        return Err(SecretError::TooLarge);
    }
    let key = <X25519 as Kem>::PublicKey::from_bytes(public).map_err(|_| SecretError::Key)?;
    let aad = context.associated_data();
    let (encapsulated, ciphertext) =
        hpke::single_shot_seal::<Aead, Kdf, X25519>(&OpModeS::Base, &key, INFO, plaintext, &aad)
            .map_err(|_| SecretError::Key)?;
    Ok(SealedSecret {
        path: context.path.to_owned(),
        version: context.version.to_owned(),
        encapsulated_key: encapsulated.to_bytes().to_vec(),
        ciphertext,
    })
}

/// Opens what was sealed to the public key of `private` under the same context.
pub fn open(
    private: &[u8; 32],
    context: &SecretContext<'_>,
    sealed: &SealedSecret,
) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    if sealed.path != context.path || sealed.version != context.version {
        return Err(SecretError::Other);
    }
    if sealed.ciphertext.len() > MAX_SECRET_BYTES + 16 {
        return Err(SecretError::TooLarge);
    }
    let key = <X25519 as Kem>::PrivateKey::from_bytes(private).map_err(|_| SecretError::Key)?;
    let encapsulated = <X25519 as Kem>::EncappedKey::from_bytes(&sealed.encapsulated_key)
        .map_err(|_| SecretError::Sealed)?;
    let aad = context.associated_data();
    hpke::single_shot_open::<Aead, Kdf, X25519>(
        &OpModeR::Base,
        &key,
        &encapsulated,
        INFO,
        &sealed.ciphertext,
        &aad,
    )
    .map(Zeroizing::new)
    .map_err(|_| SecretError::Sealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const CONTEXT: SecretContext<'static> =
        SecretContext { cluster_id: "c", envoy_id: "e", path: "db/password", version: "v1" };

    #[test]
    fn case_092_what_was_sealed_opens() {
        let (private, public) = generate();
        for plaintext in [b"".as_slice(), b"hunter2", &[7; 5000]] {
            let sealed = seal(&public, &CONTEXT, plaintext).unwrap();
            assert_eq!(open(&private, &CONTEXT, &sealed).unwrap().as_slice(), plaintext);
        }
        let twice = [seal(&public, &CONTEXT, b"x").unwrap(), seal(&public, &CONTEXT, b"x").unwrap()];
        assert_ne!(twice[0].ciphertext, twice[1].ciphertext);
    }

    /// No number of a bundle is among them: a version is made from the value, so what was sealed for an older bundle under the
    /// same version is the same value.
    #[test]
    fn case_092_sealed_for_one_envoy_it_opens_for_no_other_and_as_nothing_else() {
        let (private, public) = generate();
        let sealed = seal(&public, &CONTEXT, b"hunter2").unwrap();
        let (stranger, _) = generate();
        assert_eq!(open(&stranger, &CONTEXT, &sealed), Err(SecretError::Sealed));
        for context in [
            SecretContext { cluster_id: "d", ..CONTEXT },
            SecretContext { envoy_id: "f", ..CONTEXT },
            SecretContext { cluster_id: "ce", envoy_id: "", ..CONTEXT },
        ] {
            assert_eq!(open(&private, &context, &sealed), Err(SecretError::Sealed));
        }
        for context in
            [SecretContext { path: "db/other", ..CONTEXT }, SecretContext { version: "v2", ..CONTEXT }]
        {
            assert_eq!(open(&private, &context, &sealed), Err(SecretError::Other));
            let renamed =
                SealedSecret { path: context.path.into(), version: context.version.into(), ..sealed.clone() };
            assert_eq!(open(&private, &context, &renamed), Err(SecretError::Sealed));
        }
    }

    #[test]
    fn case_092_what_was_changed_or_cut_does_not_open() {
        let (private, public) = generate();
        let good = seal(&public, &CONTEXT, b"hunter2").unwrap();
        for at in 0..good.ciphertext.len() {
            let mut bad = good.clone();
            bad.ciphertext[at] ^= 1;
            assert_eq!(open(&private, &CONTEXT, &bad), Err(SecretError::Sealed));
        }
        for length in 0..good.ciphertext.len() {
            let cut = SealedSecret { ciphertext: good.ciphertext[..length].to_vec(), ..good.clone() };
            assert_eq!(open(&private, &CONTEXT, &cut), Err(SecretError::Sealed), "{length} bytes");
        }
        let longer = SealedSecret { ciphertext: [&*good.ciphertext, &[0]].concat(), ..good.clone() };
        assert_eq!(open(&private, &CONTEXT, &longer), Err(SecretError::Sealed));
        for key in [vec![], vec![0; 31], vec![0; 32], vec![1; 33]] {
            let bad = SealedSecret { encapsulated_key: key, ..good.clone() };
            assert_eq!(open(&private, &CONTEXT, &bad), Err(SecretError::Sealed));
        }
    }

    /// Key and nonce of the cipher come from the encapsulated key, so they repeat only if that does.
    #[test]
    fn case_092_no_key_or_nonce_is_used_twice() {
        let all_seals: usize = if std::env::var_os("VIGO_LONG").is_some() { 100_000 } else { 5_000 };
        let (_, public) = generate();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let seals = |count: usize| {
            let one = || seal(&public, &CONTEXT, b"hunter2").unwrap();
            (0..count).map(|_| one()).map(|s| (s.encapsulated_key, s.ciphertext)).collect::<Vec<_>>()
        };
        let all: Vec<(Vec<u8>, Vec<u8>)> = std::thread::scope(|scope| {
            let parts: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| seals(all_seals.div_ceil(threads)))).collect();
            parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
        });
        assert!(all.len() >= all_seals);
        let keys: HashSet<&Vec<u8>> = all.iter().map(|(key, _)| key).collect();
        let texts: HashSet<&Vec<u8>> = all.iter().map(|(_, text)| text).collect();
        assert_eq!((keys.len(), texts.len()), (all.len(), all.len()));
    }

    #[test]
    fn not_to_a_key_that_everybody_shares() {
        assert_eq!(seal(&[0; 32], &CONTEXT, b"x"), Err(SecretError::Key));
        let (_, public) = generate();
        assert_eq!(seal(&public, &CONTEXT, &vec![0; MAX_SECRET_BYTES + 1]), Err(SecretError::TooLarge));
    }
}
