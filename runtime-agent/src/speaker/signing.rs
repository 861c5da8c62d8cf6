//! The one signature of a TLS 1.3 handshake that proves who this envoy is: asked for by the speaker, made by the process that
//! has the key.

use super::frame::Word;
use super::talk::Words;
use crate::identity::pem;
use ed25519_dalek::{Signer as _, SigningKey};
use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::sign::{Signer, SigningKey as TlsKey};
use rustls::{ProtocolVersion, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::PrivateKeyDer;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

/// For a signature; it is made at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// What RFC 8446, 4.4.3 has a client sign: 64 spaces, these words, a zero, and the hash of the handshake so far.
const CONTEXT: &[u8] = b"TLS 1.3, client CertificateVerify\0";

/// Whether that is the proof of a client in a TLS 1.3 handshake, and nothing else: requests of the agent begin with a domain
/// of their own, which is none of this.
pub(super) fn is_handshake(message: &[u8]) -> bool {
    let hash = message
        .split_at_checked(64)
        .filter(|(spaces, _)| spaces.iter().all(|byte| *byte == b' '))
        .and_then(|(_, rest)| rest.strip_prefix(CONTEXT));
    // SHA-256 or SHA-384
    hash.is_some_and(|hash| matches!(hash.len(), 32 | 48))
}

/// Signs for a handshake; `None` for anything else.
pub(super) fn sign(key: &SigningKey, message: &[u8]) -> Option<[u8; 64]> {
    is_handshake(message).then(|| key.sign(message).to_bytes())
}

/// What stands in the place of a key in the speaker: its number.
pub(super) fn stand_in(number: u32) -> Zeroizing<String> {
    Zeroizing::new(pem("PRIVATE KEY", &number.to_be_bytes()))
}

/// Where a signature is asked for, in the speaker.
#[derive(Debug)]
struct Elsewhere {
    words: Words,
    signatures: Mutex<Receiver<(u32, Vec<u8>)>>,
}

static ELSEWHERE: OnceLock<Elsewhere> = OnceLock::new();

#[derive(Debug)]
struct Keys;

/// From here on every TLS connection of this process is TLS 1.3 and has its signatures made elsewhere. `false` when that was
/// said before.
pub(super) fn sign_elsewhere(words: Words, signatures: Receiver<(u32, Vec<u8>)>) -> bool {
    if ELSEWHERE.set(Elsewhere { words, signatures: Mutex::new(signatures) }).is_err() {
        return false;
    }
    let mut provider = CryptoProvider { key_provider: &Keys, ..rustls::crypto::ring::default_provider() };
    provider.cipher_suites.retain(|suite| suite.version().version == ProtocolVersion::TLSv1_3);
    provider.install_default().is_ok()
}

impl KeyProvider for Keys {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn TlsKey>, rustls::Error> {
        let number = key.secret_der().try_into().map(u32::from_be_bytes);
        let number =
            number.map_err(|_| rustls::Error::General("there is a key where none should be".into()))?;
        Ok(Arc::new(Key(number)))
    }
}

/// A key of which only the number is here.
#[derive(Clone, Copy, Debug)]
struct Key(u32);

impl TlsKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(*self) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let failed = |why: &str| rustls::Error::General(why.to_owned());
        let elsewhere = ELSEWHERE.get().ok_or_else(|| failed("there is nobody to sign"))?;
        let signatures = elsewhere.signatures.lock().unwrap_or_else(PoisonError::into_inner);
        // What came too late for a handshake before.
        while signatures.try_recv().is_ok() {}
        elsewhere.words.say(Word::Sign, self.0, message);
        match signatures.recv_timeout(PATIENCE) {
            Ok((number, signature)) if number == self.0 && !signature.is_empty() => Ok(signature),
            Ok(_) => Err(failed("the agent signs with another key by now")),
            Err(_) => Err(failed("the agent does not sign")),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::request::{self, Rpc};

    fn proof(length: usize) -> Vec<u8> {
        [[b' '; 64].as_slice(), CONTEXT, vec![7; length].as_slice()].concat()
    }

    #[test]
    fn nothing_but_the_proof_of_a_client_is_signed() {
        let key = SigningKey::from_bytes(&[3; 32]);
        for hash in [32, 48] {
            let signature = sign(&key, &proof(hash)).unwrap();
            key.verifying_key().verify_strict(&proof(hash), &signature.into()).unwrap();
        }
        let server = String::from_utf8(proof(32)).unwrap().replace("client", "server").into_bytes();
        let mut one_space_less = proof(32);
        one_space_less.remove(0);
        let mut no_zero = proof(32);
        no_zero.remove(64 + CONTEXT.len() - 1);
        for other in [Vec::new(), proof(31), proof(33), proof(47), proof(64), server, one_space_less, no_zero]
        {
            assert_eq!(sign(&key, &other), None, "{other:?}");
        }
        for cut in 0..proof(32).len() {
            assert_eq!(sign(&key, &proof(32)[..cut]), None, "cut at {cut}");
        }
    }

    /// The twin of the test above: what the agent signs elsewhere is no handshake.
    #[test]
    fn a_request_is_no_handshake() {
        let header = protocol::pb::RequestHeader {
            cluster_id: String::from_utf8(proof(32)).unwrap(),
            ..Default::default()
        };
        let key = SigningKey::from_bytes(&[3; 32]);
        let request = request::sign(&key, Rpc::CheckIn, &header, &proof(32));
        for bytes in [&request.header, &request.payload[1..].to_vec()] {
            assert!(!is_handshake(bytes));
        }
        // What is really signed begins with the domain.
        let domain = ir::signing::sign(&key, ir::signing::Domain::Request, &proof(32));
        assert_ne!(Some(domain), sign(&key, &proof(32)));
    }
}
