//! What an agent sends on a stream after its opening.
//!
//! The opening is a request like any other: fresh, counted, for the live key. Every later frame is signed together
//! with the opening's header and its own number, so it belongs to this stream and to this place in it; it needs
//! no clock and no counter on disk of its own.

use crate::length_prefixed;
use crate::pb::{AgentFrame, LaterFrame};
use crate::request::Rpc;
use ed25519_dalek::{SigningKey, VerifyingKey};
use ir::Hash;
use ir::signing::{self, Domain};
use prost::Message;

/// Why a frame is not taken; the stream ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame is missing, came twice or out of order.
    #[error("a frame of the stream is out of order")]
    Number,
    /// The signature does not fit stream, number, payload and key.
    #[error("the signature of a frame does not verify")]
    BadSignature,
    /// Signed, and still not a frame.
    #[error("a frame of the stream is malformed")]
    Malformed,
}

/// The agent's end: signs frames in order.
pub struct FrameSigner<'a> {
    key: &'a SigningKey,
    opening: Hash,
    number: u64,
}

impl<'a> FrameSigner<'a> {
    /// For the stream that begins with a request of this encoded header.
    pub fn new(key: &'a SigningKey, opening_header: &[u8]) -> Self {
        FrameSigner { key, opening: Hash::of(opening_header), number: 0 }
    }

    /// The next frame.
    pub fn sign(&mut self, frame: &AgentFrame) -> LaterFrame {
        self.number += 1;
        let payload = frame.encode_to_vec();
        let signed = signed(self.opening, self.number, &payload);
        let signature = signing::sign(self.key, Domain::Request, &signed).to_vec();
        LaterFrame { number: self.number, payload, signature }
    }
}

/// The server's end: takes frames in order.
#[derive(Debug)]
pub struct FrameVerifier {
    key: VerifyingKey,
    opening: Hash,
    number: u64,
}

impl FrameVerifier {
    /// For the stream that began with a request of this encoded header.
    pub fn new(key: VerifyingKey, opening_header: &[u8]) -> Self {
        FrameVerifier { key, opening: Hash::of(opening_header), number: 0 }
    }

    /// What is in the next frame.
    pub fn open(&mut self, frame: &LaterFrame) -> Result<AgentFrame, FrameError> {
        if frame.number != self.number.wrapping_add(1) {
            return Err(FrameError::Number);
        }
        let signature = frame.signature.as_slice().try_into().map_err(|_| FrameError::BadSignature)?;
        let signed = signed(self.opening, frame.number, &frame.payload);
        if !signing::verify(&self.key, Domain::Request, &signed, signature) {
            return Err(FrameError::BadSignature);
        }
        self.number = frame.number;
        AgentFrame::decode(frame.payload.as_slice()).map_err(|_| FrameError::Malformed)
    }
}

/// Four fields where a request has three: neither can pass for the other.
fn signed(opening: Hash, number: u64, payload: &[u8]) -> Vec<u8> {
    let path = Rpc::Stream.path().as_bytes();
    length_prefixed(&[path, &opening.0, &number.to_be_bytes(), &Hash::of(payload).0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::agent_frame::What;

    fn heartbeat(number: u64) -> AgentFrame {
        AgentFrame { what: Some(What::Heartbeat(number)) }
    }

    #[test]
    fn frames_are_taken_in_order_and_once() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let mut signer = FrameSigner::new(&key, b"header");
        let mut verifier = FrameVerifier::new(key.verifying_key(), b"header");
        let frames: Vec<_> = (1..=3).map(|n| signer.sign(&heartbeat(n))).collect();
        assert_eq!(verifier.open(&frames[1]), Err(FrameError::Number));
        assert_eq!(verifier.open(&frames[0]), Ok(heartbeat(1)));
        assert_eq!(verifier.open(&frames[0]), Err(FrameError::Number));
        assert_eq!(verifier.open(&frames[1]), Ok(heartbeat(2)));
        assert_eq!(verifier.open(&frames[2]), Ok(heartbeat(3)));
    }

    #[test]
    fn case_039_a_frame_is_of_one_stream_one_place_and_one_key() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let good = FrameSigner::new(&key, b"header").sign(&heartbeat(1));
        let open = |key: u8, header: &[u8], frame: &LaterFrame| {
            let key = SigningKey::from_bytes(&[key; 32]).verifying_key();
            FrameVerifier::new(key, header).open(frame)
        };
        assert_eq!(open(1, b"header", &good), Ok(heartbeat(1)));
        let bad = Err(FrameError::BadSignature);
        assert_eq!(open(1, b"other", &good), bad);
        assert_eq!(open(2, b"header", &good), bad);
        assert_eq!(open(1, b"header", &LaterFrame { signature: vec![], ..good.clone() }), bad);
        assert_eq!(open(1, b"header", &LaterFrame { signature: vec![0; 64], ..good.clone() }), bad);
        assert_eq!(open(1, b"header", &LaterFrame { payload: vec![], ..good.clone() }), bad);
        // the second frame in the place of the first
        let mut signer = FrameSigner::new(&key, b"header");
        signer.sign(&heartbeat(1));
        let second = signer.sign(&heartbeat(2));
        assert_eq!(open(1, b"header", &LaterFrame { number: 1, ..second }), bad);
    }
}
