//! Fingerprints of OpenPGP keys (RFC 4880, RFC 9580). Nothing is verified here: a package manager does that, with the key that
//! has the fingerprint it is meant to have.
//!
//! This is our own code because what it takes is the framing of packets and one hash. The libraries that have it are whole
//! implementations of OpenPGP: `pgp` brings RSA, elliptic curves and ciphers of its own, more than sixty crates that would see a key
//! from outside as root, and `sequoia-openpgp` is under the LGPL, which `deny.toml` does not take. Here a key can only be refused
//! or hashed.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};
use sha2::Sha256;

/// Why a text has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither armour nor packets.
    #[error("it is no OpenPGP key; a key begins with `-----BEGIN PGP PUBLIC KEY BLOCK-----`")]
    NotAKey,
    /// Cut off, or changed on the way.
    #[error("it is damaged: a part of it is missing or is not what it should be")]
    Damaged,
    /// The wrong half.
    #[error("it is a secret key, which must not be on this host; export the public one")]
    Secret,
    /// Too old, or too new.
    #[error("it has a key of version {0}; versions 4 and 6 are known")]
    Version(u8),
}

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
const MOST_KEYS: usize = 100;

/// Fingerprints of the primary keys, in upper-case hexadecimal digits. The key may be armoured or binary.
pub fn fingerprints(key: &[u8]) -> Result<Vec<String>, KeyError> {
    if key.first().is_some_and(|first| first & 0x80 != 0) {
        return of_packets(key);
    }
    let text = std::str::from_utf8(key).map_err(|_| KeyError::NotAKey)?;
    if text.contains("BEGIN PGP PRIVATE KEY BLOCK") {
        return Err(KeyError::Secret);
    }
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((_, block)) = rest.split_once(BEGIN) {
        let (block, tail) = block.split_once(END).ok_or(KeyError::Damaged)?;
        all.extend(of_packets(&dearmour(block)?)?);
        rest = tail;
    }
    if all.is_empty() { Err(KeyError::NotAKey) } else { Ok(all) }
}

/// Headers, an empty line, base64, and a checksum in a line that begins with `=`.
fn dearmour(block: &str) -> Result<Vec<u8>, KeyError> {
    let mut lines = block.lines().map(str::trim).skip(1).peekable();
    while lines.peek().is_some_and(|line| line.contains(':')) {
        lines.next();
    }
    let mut data = String::new();
    let mut sum = None;
    for line in lines {
        match line.strip_prefix('=') {
            Some(text) => sum = Some(text.to_owned()),
            None => data.push_str(line),
        }
    }
    let bytes = BASE64_STANDARD.decode(data).map_err(|_| KeyError::Damaged)?;
    if let Some(sum) = sum
        && BASE64_STANDARD.decode(sum).map_err(|_| KeyError::Damaged)? != crc24(&bytes)
    {
        return Err(KeyError::Damaged);
    }
    Ok(bytes)
}

fn crc24(bytes: &[u8]) -> [u8; 3] {
    let mut crc: u32 = 0x00b7_04ce;
    for byte in bytes {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
        }
    }
    let [_, a, b, c] = crc.to_be_bytes();
    [a, b, c]
}

fn of_packets(mut bytes: &[u8]) -> Result<Vec<String>, KeyError> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (tag, body, rest) = packet(bytes)?;
        match tag {
            6 => all.push(fingerprint(body)?),
            5 | 7 => return Err(KeyError::Secret),
            _ => {}
        }
        if all.len() > MOST_KEYS {
            return Err(KeyError::Damaged);
        }
        bytes = rest;
    }
    if all.is_empty() { Err(KeyError::NotAKey) } else { Ok(all) }
}

/// Tag and body of the first packet, and what follows it.
fn packet(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), KeyError> {
    let (first, rest) = bytes.split_first().ok_or(KeyError::Damaged)?;
    if first & 0x80 == 0 {
        return Err(KeyError::Damaged);
    }
    let number = |from: &[u8]| from.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
    let at = |n: usize| rest.get(n).copied().map(usize::from).ok_or(KeyError::Damaged);
    let (tag, header, length) = if first & 0x40 != 0 {
        let (header, length) = match at(0)? {
            one @ 0..=191 => (1, one),
            two @ 192..=223 => (2, (two - 192) * 256 + at(1)? + 192),
            255 => (5, number(rest.get(1..5).ok_or(KeyError::Damaged)?)),
            // In parts, which keys never are.
            _ => return Err(KeyError::Damaged),
        };
        (first & 0x3f, header, length)
    } else {
        let header = match first & 3 {
            0 => 1,
            1 => 2,
            2 => 4,
            _ => return Err(KeyError::Damaged),
        };
        (first >> 2 & 0x0f, header, number(rest.get(..header).ok_or(KeyError::Damaged)?))
    };
    let body = rest.get(header..).ok_or(KeyError::Damaged)?;
    match (body.get(..length), body.get(length..)) {
        (Some(body), Some(rest)) => Ok((tag, body, rest)),
        _ => Err(KeyError::Damaged),
    }
}

fn fingerprint(body: &[u8]) -> Result<String, KeyError> {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02X}")).collect::<String>();
    let length = u32::try_from(body.len()).map_err(|_| KeyError::Damaged)?.to_be_bytes();
    match body.first() {
        Some(4) => {
            let [high, .., a, b] = length;
            if high != 0 || body.len() > 0xffff {
                return Err(KeyError::Damaged);
            }
            Ok(hex(&Sha1::new().chain_update([0x99, a, b]).chain_update(body).finalize()))
        }
        Some(6) => {
            Ok(hex(&Sha256::new().chain_update([0x9b]).chain_update(length).chain_update(body).finalize()))
        }
        Some(other) => Err(KeyError::Version(*other)),
        None => Err(KeyError::Damaged),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    /// A key made for this test with `gpg --quick-generate-key`; nobody has its secret half any more.
    pub const KEY: &str = include_str!("openpgp/test-key.asc");
    /// As gpg prints it.
    pub const FINGERPRINT: &str = include_str!("openpgp/test-key.fingerprint");
}

#[cfg(test)]
mod tests {
    use super::testing::{FINGERPRINT, KEY};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_fingerprint_is_the_one_that_gpg_prints_armoured_or_not() {
        let wanted = vec![FINGERPRINT.trim().to_owned()];
        assert_eq!(fingerprints(KEY.as_bytes()), Ok(wanted.clone()));
        let block = KEY.split_once(BEGIN).unwrap().1.split_once(END).unwrap().0;
        let binary = dearmour(block).unwrap();
        assert_eq!(fingerprints(&binary), Ok(wanted.clone()));
        let twice = fingerprints(format!("A comment\n{KEY}\n{KEY}").as_bytes()).unwrap();
        assert_eq!(twice, [wanted.clone(), wanted].concat());
        assert_eq!(
            fingerprints(&KEY.replace("\n\n", "\nComment: made for a test\n\n").into_bytes()).unwrap().len(),
            1
        );
    }

    #[test]
    fn what_is_no_key_says_so() {
        assert_eq!(fingerprints(b""), Err(KeyError::NotAKey));
        assert_eq!(fingerprints(b"hello"), Err(KeyError::NotAKey));
        let secret = KEY.replace("PUBLIC", "PRIVATE");
        assert_eq!(fingerprints(secret.as_bytes()), Err(KeyError::Secret));
        let cut = KEY.get(..KEY.len() / 2).unwrap();
        assert_eq!(fingerprints(cut.as_bytes()), Err(KeyError::Damaged));
        // One letter of the data, which the checksum sees.
        let middle = KEY.len() / 2;
        let mut changed = KEY.to_owned().into_bytes();
        changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
        assert_eq!(fingerprints(&changed), Err(KeyError::Damaged));
        assert_eq!(fingerprints(&[0xc6, 1, 3]), Err(KeyError::Version(3)));
        assert_eq!(fingerprints(&[0xc5, 1, 4]), Err(KeyError::Secret));
        assert_eq!(fingerprints(&[0xc6, 255, 255, 255, 255, 255]), Err(KeyError::Damaged));
    }

    proptest! {
        /// Whatever bytes they are given: no panic, and no more keys than bytes.
        #[test]
        fn any_bytes_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(all) = fingerprints(&bytes) {
                prop_assert!(all.len() <= bytes.len());
            }
        }
    }
}
