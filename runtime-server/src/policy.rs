//! What the server needs of a compiler.
//!
//! [`Policy`] is the compiler's, or in tests one in memory.

use crate::tree::Tree;
pub use compiler::policy::{ClassKey, Variant, VariantModule};
pub use compiler::secrets::SecretUse;
use ir::{Hash, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// What checking a policy found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Anything above zero keeps a policy from being served.
    pub errors: usize,
    /// Worth a look.
    pub warnings: usize,
    /// Sizes, for people.
    pub files: usize,
    /// Modules.
    pub modules: usize,
    /// Node entries in environments.
    pub classes: usize,
    /// The diagnostics with the lines they stand in, in colour.
    pub rendered: String,
    /// The same as in `vigoc check --format json`.
    pub diagnostics: serde_json::Value,
}

impl Checked {
    /// The diagnostics without colours, for whatever is no terminal.
    pub fn plain(&self) -> String {
        anstream::adapter::strip_str(&self.rendered).to_string()
    }
}

/// Why a policy cannot be read or compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub String);

/// Where the shared traits of this compiler stand in a host's.
static SHARED: LazyLock<Vec<Vec<Arc<str>>>> = LazyLock::new(|| {
    let shared = compiler::schema::schema().traits.iter().filter(|(_, t)| t.shared);
    shared.map(|(path, _)| path.split('.').map(Arc::from).collect()).collect()
});

/// A shared trait is a word or two. What is larger is taken for absent, so that the traits of hosts in the wrong hands do not
/// fill the memory of the server.
const MAX_SHARED_BYTES: usize = 4 << 10;

fn size(value: &Value) -> usize {
    16 + match value {
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.iter().map(size).sum(),
        Value::Map(map) => map.iter().map(|(key, value)| key.len() + size(value)).sum(),
        _ => 0,
    }
}

/// What of a host's traits can make a difference to its variant, nested as it was.
pub fn shared(traits: &Value) -> Value {
    let mut out = BTreeMap::new();
    for path in SHARED.iter() {
        let value = traits.at(path).filter(|value| **value != Value::Null && size(value) <= MAX_SHARED_BYTES);
        if let (Some(value), Some((last, before))) = (value, path.split_last()) {
            let mut at = &mut out;
            for step in before {
                let inner = at.entry(step.clone()).or_insert_with(|| Value::Map(BTreeMap::new()));
                // No shared trait is below another one; a test holds the library to it.
                let Value::Map(inner) = inner else { return traits.clone() };
                at = inner;
            }
            at.insert(last.clone(), value.clone());
        }
    }
    Value::Map(out)
}

/// A policy in memory. Owned by one thread at a time.
pub trait Policy: Send {
    /// Goes on with other files.
    fn take(&mut self, tree: &Tree);
    /// Everything that can be known without a host.
    fn check(&self) -> Checked;
    /// The class of a (lower-case) host name; `None` when no node entry matches.
    fn class_of(&self, hostname: &str) -> Option<ClassKey>;
    /// Changes when [`Policy::class_of`] may answer otherwise than before.
    fn layout(&self) -> Hash;
    /// What hosts of a class with such traits get.
    fn variant(&self, class: &ClassKey, traits: &Value) -> Result<Arc<Variant>, PolicyError>;
    /// The secrets that it names, with the places.
    fn secrets(&self) -> Vec<SecretUse>;
}

/// Where policies come from.
pub trait PolicySource: Send + Sync {
    /// The files that lie in the directory of this server; `None` when there is no policy among them.
    fn read(&self) -> Result<Option<Tree>, PolicyError>;
    /// Files in memory, ready to be compiled.
    fn open(&self, tree: &Tree) -> Box<dyn Policy>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_shared_trait_is_below_another() {
        let below = |a: &[Arc<str>], b: &[Arc<str>]| a.len() < b.len() && b.starts_with(a);
        assert!(SHARED.iter().all(|a| !SHARED.iter().any(|b| below(a, b))));
        assert!(SHARED.len() > 3);
    }

    #[test]
    fn only_what_is_shared_is_kept_and_where_it_was() {
        let map = |pairs: &[(&str, Value)]| {
            Value::Map(pairs.iter().map(|(k, v)| (Arc::from(*k), v.clone())).collect())
        };
        let shared_part = map(&[("arch", "x86_64".into()), ("family", "debian".into())]);
        let traits = map(&[
            ("os", shared_part.clone()),
            ("network", map(&[("hostname", "web-01".into())])),
            ("unheard_of", Value::Int(1)),
        ]);
        assert_eq!(shared(&traits), map(&[("os", shared_part)]));
        assert_eq!(shared(&Value::Null), map(&[]));
        let large = map(&[("os", map(&[("family", "x".repeat(5000).as_str().into())]))]);
        assert_eq!(shared(&large), map(&[]));
    }
}
