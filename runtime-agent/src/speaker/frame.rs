//! What goes over the socket pair: a kind, a number and a length, then as many bytes of Protocol Buffers.
//!
//! Either side ends the conversation at a frame that makes no sense. Memory grows with what has arrived, not with what is
//! announced.

use std::io::{ErrorKind, Read, Write};

const HEAD: usize = 9;
/// Of frames that carry no message of the protocol.
const SMALL: usize = 16 << 10;

/// Why there is no next frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// Between two frames.
    #[error("it closed the connection")]
    Ended,
    /// Nothing came, and the socket has a limit for that.
    #[error("it says nothing")]
    Idle,
    /// Within one.
    #[error("a frame is cut off")]
    Cut,
    /// A kind that is none.
    #[error("a frame has the unknown kind {0}")]
    Unknown(u8),
    /// More than its kind may have.
    #[error("a frame of kind {kind} announces {length} bytes")]
    TooLong {
        /// Its first byte.
        kind: u8,
        /// What it announces.
        length: usize,
    },
    /// The socket.
    #[error("{0}")]
    Io(std::io::Error),
}

/// A kind of frames.
pub(super) trait Kind: Copy {
    /// That of a first byte.
    fn of(byte: u8) -> Option<Self>;
    /// Its first byte.
    fn byte(self) -> u8;
    /// How long its body may be.
    fn limit(self) -> usize;
}

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$inner:meta])* $kind:ident = $byte:literal, $limit:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name { $($(#[$inner])* $kind,)* }

        impl Kind for $name {
            fn of(byte: u8) -> Option<Self> {
                match byte { $($byte => Some($name::$kind),)* _ => None }
            }

            fn byte(self) -> u8 {
                match self { $($name::$kind => $byte,)* }
            }

            fn limit(self) -> usize {
                match self { $($name::$kind => $limit,)* }
            }
        }
    };
}

kinds! {
    /// To the speaker. The number is that of the request, of the stream or of the key.
    Order {
        /// An `Introduction`: which server, and with which certificate. The number is that of its key.
        Introduce = 1, SMALL * 4;
        /// A `SignedRequest`.
        CheckIn = 2, protocol::MAX_MESSAGE_BYTES;
        /// A `SignedRequest`.
        Report = 3, protocol::MAX_MESSAGE_BYTES;
        /// A `SignedRequest`.
        Renew = 4, protocol::MAX_MESSAGE_BYTES;
        /// The opening of a stream: a `SignedFrame`.
        Open = 5, protocol::MAX_MESSAGE_BYTES;
        /// A later one.
        Up = 6, protocol::MAX_MESSAGE_BYTES;
        /// There is room for one more from the server.
        Taken = 7, 0;
        /// The stream is not wanted any more.
        Close = 8, 0;
        /// A signature; empty when there is none.
        Signature = 9, SMALL;
        /// Is it there?
        Ping = 10, 0;
    }
}

kinds! {
    /// From the speaker.
    Word {
        /// It has given up its privileges: `Confined`. Once, and first.
        Ready = 1, SMALL;
        /// The answer of the server.
        Answer = 2, protocol::MAX_MESSAGE_BYTES;
        /// There is none: a `Failure`.
        Failed = 3, SMALL;
        /// A `ServerFrame`.
        Down = 4, protocol::MAX_MESSAGE_BYTES;
        /// There is room for one more to the server.
        Taken = 5, 0;
        /// The stream is over: a `Failure`, or nothing when the server closed it.
        Ended = 6, SMALL;
        /// What a TLS handshake wants signed. The number is that of the key.
        Sign = 7, 512;
        /// It cannot go on: a text.
        Broken = 8, SMALL;
        /// It is there, whatever its server does.
        Pong = 9, 0;
    }
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame<K> {
    pub(super) kind: K,
    pub(super) number: u32,
    pub(super) body: Vec<u8>,
}

/// Reads the next one.
pub(super) fn read<K: Kind>(from: &mut impl Read) -> Result<Frame<K>, FrameError> {
    let mut head = [0; HEAD];
    let mut filled = 0;
    while filled < HEAD {
        match from.read(head.get_mut(filled..).unwrap_or_default()) {
            Ok(0) if filled == 0 => return Err(FrameError::Ended),
            Ok(0) => return Err(FrameError::Cut),
            Ok(n) => filled += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::ConnectionReset && filled == 0 => return Err(FrameError::Ended),
            // That is how a socket with a limit says that it was reached.
            Err(e) if e.kind() == ErrorKind::WouldBlock && filled == 0 => return Err(FrameError::Idle),
            Err(e) => return Err(FrameError::Io(e)),
        }
    }
    let [byte, n0, n1, n2, n3, l0, l1, l2, l3] = head;
    let kind = K::of(byte).ok_or(FrameError::Unknown(byte))?;
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if length > kind.limit() {
        return Err(FrameError::TooLong { kind: byte, length });
    }
    let mut body = Vec::with_capacity(length.min(SMALL));
    from.take(length as u64).read_to_end(&mut body).map_err(FrameError::Io)?;
    if body.len() < length {
        return Err(FrameError::Cut);
    }
    Ok(Frame { kind, number: u32::from_be_bytes([n0, n1, n2, n3]), body })
}

/// Writes one.
pub(super) fn write<K: Kind>(to: &mut impl Write, kind: K, number: u32, body: &[u8]) -> std::io::Result<()> {
    if body.len() > kind.limit() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "a message is too long to be sent"));
    }
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let [n0, n1, n2, n3] = number.to_be_bytes();
    let [l0, l1, l2, l3] = length;
    to.write_all(&[kind.byte(), n0, n1, n2, n3, l0, l1, l2, l3])?;
    to.write_all(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_anything_cut_off_is_not(
            number: u32, body in proptest::collection::vec(any::<u8>(), 0..2000), cut in 0usize..2009,
        ) {
            let mut bytes = Vec::new();
            write(&mut bytes, Word::Answer, number, &body).unwrap();
            let whole = bytes.len();
            let frame: Frame<Word> = read(&mut bytes.as_slice()).unwrap();
            prop_assert_eq!(&frame, &Frame { kind: Word::Answer, number, body });
            bytes.truncate(cut.min(whole - 1));
            let error = read::<Word>(&mut bytes.as_slice()).unwrap_err();
            prop_assert!(matches!(error, FrameError::Ended if bytes.is_empty()) || matches!(error, FrameError::Cut));
        }

        /// Random bytes never take more memory than they have themselves.
        #[test]
        fn case_068_random_bytes_are_an_error_or_a_frame(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(frame) = read::<Word>(&mut bytes.as_slice()) {
                prop_assert!(frame.body.capacity() <= SMALL.max(bytes.len() * 2));
            }
            let _ = read::<Order>(&mut bytes.as_slice());
        }
    }

    #[test]
    fn case_068_what_is_announced_is_not_allocated() {
        let head = |kind: u8, length: u32| {
            let mut head = vec![kind, 0, 0, 0, 1];
            head.extend(length.to_be_bytes());
            head
        };
        let limit = u32::try_from(protocol::MAX_MESSAGE_BYTES).unwrap();
        for (bytes, expected) in [
            (head(2, limit + 1), "kind 2 announces 16777217 bytes"),
            (head(2, u32::MAX), "announces 4294967295 bytes"),
            (head(7, 513), "kind 7 announces 513 bytes"),
            (head(5, 1), "kind 5 announces 1 bytes"),
            (head(0, 0), "unknown kind 0"),
            (head(10, 0), "unknown kind 10"),
            (head(2, limit), "cut off"),
        ] {
            let error = read::<Word>(&mut bytes.as_slice()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(write(&mut Vec::new(), Word::Taken, 1, b"x").is_err(), "nor is it written");
    }
}
