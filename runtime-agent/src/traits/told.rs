//! What of the traits travels to the server.

use super::{COLLECTORS, Collected, Section, merge};
use crate::clock::Millis;
use ir::wire::{WireError, encode_value};
use ir::{Hash, Value};

/// What only measures is news for the server after this time at the latest.
const REFRESH: Millis = 3_600_000;
/// The server takes no more.
const MOST_BYTES: usize = 1 << 20;
/// Long lists that conditions on the host and queries have, and the server does not.
const STAYS: &[[&str; 2]] = &[["packages", "installed"]];

/// What the server is told, as it was told last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// When it was put together.
    pub at: Millis,
    /// Of what is told as soon as it changes.
    pub essence: [u8; 32],
    /// The encoded traits.
    pub traits: Vec<u8>,
}

/// What the server is to be told now. Measurements alone are no reason to tell it anything: while nothing else changed, it is
/// told what it was told before, for up to an hour; then, and with everything else, they come along.
pub fn told(collected: &[Collected], before: Option<Told>, now: Millis) -> Result<Told, WireError> {
    let measures = |c: &&Collected| !COLLECTORS.iter().any(|of| of.measures && of.name == c.name);
    let essential: Vec<Collected> = collected.iter().filter(measures).cloned().collect();
    let essence = Hash::of(&encoded(merge(&essential))?).0;
    match before {
        Some(before) if before.essence == essence && before.at <= now && now - before.at < REFRESH => {
            Ok(before)
        }
        _ => Ok(Told { at: now, essence, traits: encoded(merge(collected))? }),
    }
}

/// Without what stays here, and without the largest parts where all of it is too much.
fn encoded(mut traits: Value) -> Result<Vec<u8>, WireError> {
    for [group, name] in STAYS {
        if let Value::Map(all) = &mut traits
            && let Some(Value::Map(group)) = all.get_mut(*group)
        {
            group.remove(*name);
        }
    }
    loop {
        let bytes = encode_value(&traits)?;
        let Value::Map(all) = &mut traits else { return Ok(bytes) };
        if bytes.len() <= MOST_BYTES {
            return Ok(bytes);
        }
        let Some(largest) = largest(all) else { return Ok(bytes) };
        tracing::warn!(
            "the traits of this host have {} bytes; `{largest}` is not told to the server",
            bytes.len()
        );
        all.remove(&*largest);
    }
}

fn largest(all: &Section) -> Option<String> {
    let size = |value: &Value| encode_value(value).map_or(usize::MAX, |bytes| bytes.len());
    all.iter().max_by_key(|(_, value)| size(value)).map(|(name, _)| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traits::{Class, map};

    fn said(name: &str, class: Class, value: Value) -> Collected {
        Collected { name: name.into(), at: 1, class, value }
    }

    fn traits(free: i64, address: &str) -> Vec<Collected> {
        let memory = map([("available_mb", Some(Value::Int(free)))]);
        let network = map([("ip", Some(address.into()))]);
        let list = Value::Map([("bash".into(), "5".into())].into());
        let packages = map([("count", Some(Value::Int(1))), ("installed", Some(list))]);
        vec![
            said("memory", Class::Volatile, map([("memory", Some(memory))])),
            said("network", Class::Volatile, map([("network", Some(network))])),
            said("packages", Class::Periodic, map([("packages", Some(packages))])),
        ]
    }

    fn read(told: &Told) -> String {
        serde_json::Value::from(&ir::wire::decode_value(&told.traits).unwrap()).to_string()
    }

    #[test]
    fn measurements_alone_are_no_news_for_an_hour() {
        let first = told(&traits(10, "a"), None, 1000).unwrap();
        let same = told(&traits(20, "a"), Some(first.clone()), 2000).unwrap();
        assert_eq!(same, first, "only memory differs");
        let moved = told(&traits(20, "b"), Some(first.clone()), 2000).unwrap();
        assert!(read(&moved).contains(r#""available_mb":20"#), "they come along: {}", read(&moved));
        let later = told(&traits(30, "a"), Some(first.clone()), 1000 + REFRESH).unwrap();
        assert!(read(&later).contains(r#""available_mb":30"#));
        let back = told(&traits(30, "a"), Some(first), 999).unwrap();
        assert_eq!(back.at, 999, "the clock went back");
    }

    #[test]
    fn long_lists_stay_and_what_is_too_large_is_left_out() {
        let told_now = told(&traits(1, "a"), None, 1).unwrap();
        assert!(read(&told_now).contains(r#""count":1"#) && !read(&told_now).contains("bash"));
        let mut large = traits(1, "a");
        let text = "x".repeat(MOST_BYTES);
        large.push(said("custom", Class::Volatile, map([("custom", Some(text.as_str().into()))])));
        let told_now = told(&large, None, 1).unwrap();
        assert!(told_now.traits.len() < MOST_BYTES && read(&told_now).contains("\"ip\""));
    }
}
