//! How much a message would take, before it is decoded: an empty secret is two bytes on the way and a hundred in memory, so 16 MiB
//! of them would be more than a small host has.

use prost::Message;

/// Secrets of a bundle; far more than any has.
const MOST: usize = 100_000;

/// A `CheckInReply`, as far as it counts.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Reply {
    #[prost(message, optional, tag = "2")]
    bundle: Option<Bundle>,
}

/// Secrets without what is in them, which takes nothing.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Bundle {
    #[prost(message, repeated, tag = "4")]
    secrets: Vec<()>,
}

/// A `ServerFrame`, as far as it counts.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Frame {
    #[prost(message, optional, tag = "8")]
    checked_in: Option<Reply>,
}

impl Reply {
    fn fits(&self) -> bool {
        self.bundle.as_ref().is_none_or(|bundle| bundle.secrets.len() <= MOST)
    }
}

/// Whether an answer to a check-in may be decoded. One that cannot be does not fit.
pub(super) fn reply_fits(body: &[u8]) -> bool {
    Reply::decode(body).is_ok_and(|reply| reply.fits())
}

/// Whether a frame of a stream may be decoded.
pub(super) fn frame_fits(body: &[u8]) -> bool {
    Frame::decode(body).is_ok_and(|frame| frame.checked_in.is_none_or(|reply| reply.fits()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::pb::{self, check_in_reply::Answer, server_frame::What};

    fn bundle(secrets: usize) -> pb::CheckInReply {
        let secret = pb::SealedSecret { path: "a/b".into(), ciphertext: vec![7; 40], ..Default::default() };
        let mut secrets = vec![pb::SealedSecret::default(); secrets];
        secrets.push(secret);
        let bundle = pb::Bundle { modules: vec![vec![1, 2]; 3], secrets, ..pb::Bundle::default() };
        pb::CheckInReply { answer: Some(Answer::Bundle(bundle)), ..pb::CheckInReply::default() }
    }

    #[test]
    fn case_068_a_message_of_many_small_parts_is_not_decoded() {
        for (secrets, fits) in [(0, true), (MOST - 1, true), (MOST, false)] {
            let reply = bundle(secrets);
            assert_eq!(reply_fits(&reply.encode_to_vec()), fits, "{secrets}");
            let frame = pb::ServerFrame { what: Some(What::CheckedIn(reply)) };
            assert_eq!(frame_fits(&frame.encode_to_vec()), fits, "{secrets}");
        }
        // Parts of one message may come apart; they are put together again.
        let half = bundle(MOST / 2 + 1).encode_to_vec();
        assert!(reply_fits(&half) && !reply_fits(&[half.clone(), half].concat()));
        assert!(reply_fits(&[]) && frame_fits(&[]) && !reply_fits(&[255]) && !frame_fits(&[255]));
    }
}
