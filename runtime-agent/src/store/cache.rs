//! What is kept for convenience and for the next run: triggers, traits, the last contact, past runs.

use super::{META, Store, StoreError, TRAITS, TRIGGERS, put, put_json, take_json};
use crate::clock::Millis;
use crate::converge::Triggers;
use crate::observe::Totals;
use crate::pause::Pause;
use crate::speaker::Separation;
use crate::traits::{Class, Collected, Told};
use ir::{Hash, Value};
use redb::{ReadableTable, WriteTransaction};
use std::collections::BTreeSet;

/// Runs that `vigo status` shows.
const PAST_RUNS: usize = 10;

/// What the server said last.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Contact {
    /// When.
    pub at: Millis,
    /// Milliseconds until the next check-in.
    pub interval: u32,
    /// Percent of it.
    pub jitter: u32,
    /// Digest of the traits that the server knows, in hexadecimal.
    pub traits_digest: String,
    /// Why it had nothing for this envoy.
    pub refusal: Option<String>,
    /// Why it does not let this envoy in at all. Nobody signed that: it is shown, and nothing follows from it.
    #[serde(default)]
    pub turned_away: Option<String>,
    /// It has work for this envoy.
    #[serde(default)]
    pub stream_requested: bool,
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Past {
    /// UUIDv7.
    pub run_id: String,
    /// When it began.
    pub at: Millis,
    /// Milliseconds.
    pub took: u64,
    /// Counts.
    pub totals: Totals,
    /// From the cache, the server being out of reach.
    pub offline: bool,
    /// It did not end.
    pub interrupted: bool,
    /// The part it was limited to.
    #[serde(default)]
    pub only: Option<String>,
}

/// Pending triggers in the store.
#[derive(Debug)]
pub struct StoreTriggers<'a>(pub &'a Store);

impl Triggers for StoreTriggers<'_> {
    fn pending(&self) -> Result<BTreeSet<String>, StoreError> {
        self.0.triggers()
    }

    fn earn(&mut self, targets: &BTreeSet<String>) -> Result<(), StoreError> {
        self.0.write(|t| {
            let mut table = t.open_table(TRIGGERS)?;
            targets.iter().try_for_each(|target| table.insert(target.as_str(), ()).map(drop))?;
            Ok(())
        })
    }

    fn serve(&mut self, targets: &BTreeSet<String>) -> Result<(), StoreError> {
        self.0.write(|t| {
            let mut table = t.open_table(TRIGGERS)?;
            targets.iter().try_for_each(|target| table.remove(target.as_str()).map(drop))?;
            Ok(())
        })
    }
}

impl Store {
    /// Pending triggers.
    pub fn triggers(&self) -> Result<BTreeSet<String>, StoreError> {
        self.read(|t| {
            let table = t.open_table(TRIGGERS)?;
            let mut all = BTreeSet::new();
            for row in table.iter()? {
                all.insert(row?.0.value().to_owned());
            }
            Ok(all)
        })
    }

    /// Forgets triggers for resources that are not in the bundle any more.
    pub fn retain_triggers(&self, keep: &dyn Fn(&str) -> bool) -> Result<(), StoreError> {
        if self.triggers()?.iter().all(|t| keep(t)) {
            return Ok(());
        }
        self.write(|t| Ok(t.open_table(TRIGGERS)?.retain(|name, ()| keep(name))?))
    }

    /// Traits as they were collected.
    pub fn traits(&self) -> Result<Vec<Collected>, StoreError> {
        self.read(|t| {
            let table = t.open_table(TRAITS)?;
            let mut all = Vec::new();
            for row in table.iter()? {
                let (name, bytes) = row?;
                all.extend(decode(name.value(), bytes.value()));
            }
            Ok(all)
        })
    }

    /// Keeps what was collected and is good for another run; `known` is what is kept now.
    pub fn keep_traits(&self, known: &[Collected], collected: &[Collected]) -> Result<(), StoreError> {
        let kept: Vec<&Collected> = collected.iter().filter(|part| part.is_kept()).collect();
        if kept.len() == known.len() && kept.iter().all(|part| known.contains(part)) {
            return Ok(());
        }
        self.write(|t| {
            let mut table = t.open_table(TRAITS)?;
            table.retain(|name, _| kept.iter().any(|part| part.name == name))?;
            for part in &kept {
                if let Some(bytes) = encode(part) {
                    table.insert(part.name.as_str(), bytes.as_slice())?;
                }
            }
            Ok(())
        })
    }

    /// The traits that the server was told last, or was to be told.
    pub fn told(&self) -> Result<Option<Told>, StoreError> {
        Ok(self.get("traits.told")?.and_then(|bytes| {
            let (at, rest) = bytes.split_first_chunk()?;
            let (essence, traits) = rest.split_first_chunk()?;
            Some(Told { at: u64::from_be_bytes(*at), essence: *essence, traits: traits.to_vec() })
        }))
    }

    /// Keeps them, where they are others than before.
    pub fn keep_told(&self, told: &Told) -> Result<(), StoreError> {
        if self.told()?.as_ref() == Some(told) {
            return Ok(());
        }
        let mut bytes = told.at.to_be_bytes().to_vec();
        bytes.extend(told.essence);
        bytes.extend(&told.traits);
        self.write(|t| put(t, "traits.told", &bytes))
    }

    /// What the server said last.
    pub fn contact(&self) -> Result<Contact, StoreError> {
        Ok(self.get_json("contact")?.unwrap_or_default())
    }

    /// Keeps what the server said.
    pub fn keep_contact(&self, contact: &Contact) -> Result<(), StoreError> {
        self.write(|t| put_json(t, "contact", contact))
    }

    /// The pause that is on at that time.
    pub fn pause(&self, now: Millis) -> Result<Option<Pause>, StoreError> {
        Ok(self.get_json::<Option<Pause>>("pause")?.flatten().filter(|pause| now < pause.until))
    }

    /// Begins a pause, or ends it.
    pub fn keep_pause(&self, pause: Option<&Pause>) -> Result<(), StoreError> {
        self.write(|t| put_json(t, "pause", &pause))
    }

    /// Who speaks with the server for the agent that was started last.
    pub fn separation(&self) -> Result<Option<Separation>, StoreError> {
        self.get_json("separation")
    }

    /// Keeps who does.
    pub fn keep_separation(&self, separation: &Separation) -> Result<(), StoreError> {
        self.write(|t| put_json(t, "separation", separation))
    }

    /// Past runs, the latest first.
    pub fn past(&self) -> Result<Vec<Past>, StoreError> {
        Ok(self.get_json("past")?.unwrap_or_default())
    }

    /// A hash of everything in the metadata table, for tests of "nothing was changed".
    pub fn digest(&self) -> Result<Hash, StoreError> {
        self.read(|t| {
            let mut all = Vec::new();
            for row in t.open_table(META)?.iter()? {
                let (key, value) = row?;
                all.extend(format!("{} {}\n", key.value(), Hash::of(value.value())).into_bytes());
            }
            Ok(Hash::of(&all))
        })
    }
}

pub(super) fn add_past(t: &WriteTransaction, run: &Past) -> Result<(), redb::Error> {
    let mut past: Vec<Past> = take_json(t, "past")?;
    past.insert(0, run.clone());
    // Runs of a part do not push out the last one of everything.
    let whole = past.iter().position(|run| run.only.is_none()).filter(|at| *at >= PAST_RUNS);
    if let Some(at) = whole {
        past.swap(at, PAST_RUNS - 1);
    }
    past.truncate(PAST_RUNS);
    put_json(t, "past", &past)
}

/// Time and class, then the value as policy encodes it.
fn encode(part: &Collected) -> Option<Vec<u8>> {
    let mut out = part.at.to_be_bytes().to_vec();
    out.push(match part.class {
        Class::Volatile => 0,
        Class::Periodic => 1,
        Class::Stable => 2,
    });
    out.extend(ir::wire::encode_value(&part.value).ok()?);
    Some(out)
}

fn decode(name: &str, bytes: &[u8]) -> Option<Collected> {
    let (at, rest) = bytes.split_first_chunk()?;
    let (class, rest) = rest.split_first()?;
    let class = match class {
        0 => Class::Volatile,
        1 => Class::Periodic,
        2 => Class::Stable,
        _ => return None,
    };
    let value: Value = ir::wire::decode_value(rest).ok()?;
    Some(Collected { name: name.to_owned(), at: u64::from_be_bytes(*at), class, value })
}
