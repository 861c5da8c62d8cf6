//! The bundle and what is needed to trust it: one commit takes all of it.

use super::marks::change_marks;
use super::{BLOBS, Marks, SECRETS, Store, StoreError, put, put_json, take};
use crate::clock::Millis;
use ir::Hash;
use prost::Message;
use protocol::pb::{KeyStatement, SealedSecret};
use protocol::reset::Reset;
use redb::{ReadableTable, WriteTransaction};
use std::collections::{BTreeMap, BTreeSet};

/// A key statement and when it was found good: it may run out while what it vouched for is still good.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRecord {
    /// As received.
    pub statement: KeyStatement,
    /// When.
    pub at: Millis,
}

impl KeyRecord {
    fn encode(&self) -> Vec<u8> {
        let mut out = self.at.to_be_bytes().to_vec();
        out.extend(self.statement.encode_to_vec());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (at, statement) = bytes.split_first_chunk()?;
        Some(KeyRecord { at: u64::from_be_bytes(*at), statement: KeyStatement::decode(statement).ok()? })
    }
}

/// What is in the store, not yet verified.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cached {
    /// Signed envelope.
    pub manifest: Vec<u8>,
    /// Who signed it.
    pub manifest_key: Option<KeyRecord>,
    /// Signed envelope.
    pub lease: Vec<u8>,
    /// Who signed it.
    pub lease_key: Option<KeyRecord>,
    /// Module bytes by the hash they are stored under.
    pub blobs: BTreeMap<Hash, Vec<u8>>,
}

/// A lease that was verified, with or without a manifest, for modules that are here.
#[derive(Clone, Debug)]
pub struct Renewed<'a> {
    /// Signed envelope, when it is a new one.
    pub manifest: Option<&'a [u8]>,
    /// Signed envelope.
    pub lease: &'a [u8],
    /// The key of both.
    pub key: &'a KeyRecord,
    /// New marks.
    pub epoch: u64,
    /// New marks.
    pub seq: u64,
    /// Of the bundle.
    pub root: Hash,
    /// Came with the key's statement, and was verified.
    pub reset: Option<Reset>,
    /// The server's clock.
    pub server_time: Millis,
}

/// A bundle that was verified and shall be kept.
#[derive(Clone, Debug)]
pub struct Accepted<'a> {
    /// Its manifest and lease.
    pub signed: Renewed<'a>,
    /// Modules to add.
    pub modules: &'a [Vec<u8>],
    /// Modules of the bundle, old and new.
    pub keep: &'a BTreeSet<Hash>,
    /// All secrets of the bundle.
    pub secrets: &'a [SealedSecret],
}

impl Store {
    /// What is kept; `None` before the first bundle.
    pub fn cached(&self) -> Result<Option<Cached>, StoreError> {
        let Some(manifest) = self.get("bundle.manifest")? else { return Ok(None) };
        let key = |name: &str| Ok::<_, StoreError>(self.get(name)?.and_then(|b| KeyRecord::decode(&b)));
        let blobs = self.read(|t| {
            let mut all = BTreeMap::new();
            for row in t.open_table(BLOBS)?.iter()? {
                let (hash, bytes) = row?;
                if let Some(hash) = Hash::from_slice(hash.value()) {
                    all.insert(hash, bytes.value().to_vec());
                }
            }
            Ok(all)
        })?;
        Ok(Some(Cached {
            manifest,
            manifest_key: key("bundle.manifest_key")?,
            lease: self.get("bundle.lease")?.unwrap_or_default(),
            lease_key: key("bundle.lease_key")?,
            blobs,
        }))
    }

    /// The signing key to name in requests: that of the last answer.
    pub fn current_key(&self) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.get("key.current")?.and_then(|b| KeyRecord::decode(&b)))
    }

    /// The key with the highest epoch, which says what others are live.
    pub fn highest_key(&self) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.get("key.highest")?.and_then(|b| KeyRecord::decode(&b)))
    }

    /// The key that enrolment brought.
    pub fn pin(&self, key: &KeyRecord, epoch: u64) -> Result<(), StoreError> {
        let marks = self.write(|t| {
            put_key(t, key, epoch)?;
            change_marks(t, |marks| marks.epoch = marks.epoch.max(epoch))
        })?;
        self.copy_marks(&marks);
        Ok(())
    }

    /// Keeps a verified bundle.
    pub fn accept(&self, a: &Accepted<'_>) -> Result<(), StoreError> {
        let marks = self.write(|t| {
            {
                let mut blobs = t.open_table(BLOBS)?;
                for module in a.modules {
                    blobs.insert(Hash::of(module).0.as_slice(), module.as_slice())?;
                }
                blobs.retain(|hash, _| Hash::from_slice(hash).is_some_and(|h| a.keep.contains(&h)))?;
                let mut secrets = t.open_table(SECRETS)?;
                secrets.retain(|path, _| a.secrets.iter().any(|s| s.path == path))?;
                for secret in a.secrets {
                    secrets.insert(secret.path.as_str(), secret.encode_to_vec().as_slice())?;
                }
            }
            put_signed(t, &a.signed)
        })?;
        self.copy_marks(&marks);
        Ok(())
    }

    /// Keeps a verified lease.
    pub fn renew(&self, signed: &Renewed<'_>) -> Result<(), StoreError> {
        let marks = self.write(|t| put_signed(t, signed))?;
        self.copy_marks(&marks);
        Ok(())
    }

    /// Forgets modules whose bytes are not what they were.
    pub fn drop_blobs(&self, rotten: &[Hash]) -> Result<(), StoreError> {
        self.write(|t| {
            let mut blobs = t.open_table(BLOBS)?;
            for hash in rotten {
                blobs.remove(hash.0.as_slice())?;
            }
            Ok(())
        })
    }

    /// All secrets, sealed.
    pub fn sealed(&self) -> Result<Vec<SealedSecret>, StoreError> {
        self.read(|t| {
            let mut all = Vec::new();
            for row in t.open_table(SECRETS)?.iter()? {
                // One that does not read back is one that is not there.
                all.extend(SealedSecret::decode(row?.1.value()).ok());
            }
            Ok(all)
        })
    }

    /// A number for the next request: higher than every earlier one, also after the store was lost.
    pub fn next_counter(&self, now: Millis) -> Result<u64, StoreError> {
        self.write(|t| {
            let last = take(t, "counter")?.and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes);
            let next = now.max(last.saturating_add(1));
            put(t, "counter", &next.to_be_bytes())?;
            Ok(next)
        })
    }
}

/// Forgets what was seen before a reset that is new.
fn take_reset(t: &WriteTransaction, reset: Option<Reset>) -> Result<(), redb::Error> {
    let marks: Marks = super::take_json(t, "marks")?;
    let Some(reset) = reset.filter(|reset| reset.number > marks.reset) else { return Ok(()) };
    tracing::warn!(
        "the cluster's CA says to begin anew: epochs before {} are retired, what was seen so far counts no more",
        reset.min_epoch
    );
    put_json(t, "key.highest_epoch", &0u64)?;
    change_marks(t, |marks| *marks = std::mem::take(marks).after(reset)).map(drop)
}

fn put_signed(t: &WriteTransaction, signed: &Renewed<'_>) -> Result<Marks, redb::Error> {
    let key = signed.key.encode();
    if let Some(manifest) = signed.manifest {
        put(t, "bundle.manifest", manifest)?;
        put(t, "bundle.manifest_key", &key)?;
    }
    put(t, "bundle.lease", signed.lease)?;
    put(t, "bundle.lease_key", &key)?;
    take_reset(t, signed.reset)?;
    put_key(t, signed.key, signed.epoch)?;
    change_marks(t, |marks| {
        marks.epoch = marks.epoch.max(signed.epoch);
        marks.seq = marks.seq.max(signed.seq);
        marks.root = signed.root.to_string();
        marks.time_floor = signed.server_time;
    })
}

fn put_key(t: &WriteTransaction, key: &KeyRecord, epoch: u64) -> Result<(), redb::Error> {
    let encoded = key.encode();
    put(t, "key.current", &encoded)?;
    let highest: u64 = super::take_json(t, "key.highest_epoch")?;
    if epoch >= highest {
        put(t, "key.highest", &encoded)?;
        put_json(t, "key.highest_epoch", &epoch)?;
    }
    Ok(())
}

#[cfg(test)]
impl Store {
    /// Lets a module go bad.
    pub fn rot(&self, hash: Hash) {
        self.write(|t| {
            t.open_table(BLOBS)?.insert(hash.0.as_slice(), b"rot".as_slice())?;
            Ok(())
        })
        .unwrap();
    }
}
