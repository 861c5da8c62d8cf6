//! Plain data: what variables, traits and attributes hold.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A value of policy. Maps are sorted by key, so equal values have one encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// Nothing. In a variable it un-sets; as an absent trait it is what `default` replaces.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A finite float.
    Float(Finite),
    /// Text.
    Str(Arc<str>),
    /// Content of a file that is not UTF-8.
    Bytes(Arc<[u8]>),
    /// A list.
    List(Vec<Value>),
    /// A map with text keys.
    Map(BTreeMap<Arc<str>, Value>),
    /// A reference to a secret by its path; the text itself is never a `Value` before the agent
    /// asks for it.
    Secret(Arc<str>),
}

/// A float that is neither infinite nor NaN, so that it can be compared, hashed and encoded.
#[derive(Clone, Copy, Debug)]
pub struct Finite(f64);

impl Finite {
    /// `None` for infinities and NaN.
    pub fn new(f: f64) -> Option<Self> {
        f.is_finite().then_some(Finite(f))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Finite {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Finite {}

impl PartialOrd for Finite {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Finite {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl std::hash::Hash for Finite {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl Value {
    /// About how many bytes it takes on the wire; never much less.
    pub fn weight(&self) -> u64 {
        16 + match self {
            Value::Str(text) | Value::Secret(text) => text.len() as u64,
            Value::Bytes(bytes) => bytes.len() as u64,
            Value::List(items) => items.iter().map(Value::weight).sum(),
            Value::Map(map) => map.iter().map(|(key, v)| key.len() as u64 + 4 + v.weight()).sum(),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
        }
    }

    /// Text.
    pub fn str(text: impl AsRef<str>) -> Self {
        Value::Str(Arc::from(text.as_ref()))
    }

    /// The text of a `Str`.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The name people use for this kind of value in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Secret(_) => "secret",
        }
    }

    /// Follows map keys; `None` where one is missing or a step is not a map.
    pub fn at(&self, path: &[Arc<str>]) -> Option<&Value> {
        path.iter().try_fold(self, |v, key| match v {
            Value::Map(m) => m.get(key),
            _ => None,
        })
    }

    /// Whether a secret stands anywhere inside.
    pub fn holds_secret(&self) -> bool {
        match self {
            Value::Secret(_) => true,
            Value::List(l) => l.iter().any(Value::holds_secret),
            Value::Map(m) => m.values().any(Value::holds_secret),
            _ => false,
        }
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Value::Bool(b)
    }
}

impl From<i64> for Value {
    fn from(i: i64) -> Self {
        Value::Int(i)
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Value::str(s)
    }
}

impl From<String> for Value {
    fn from(s: String) -> Self {
        Value::Str(s.into())
    }
}
