//! Types of variables, attributes and expressions.

mod refinement;

pub use refinement::{Refinement, duration};

use ir::{Finite, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A type of policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Fits everything: the element of an empty list, a value already reported.
    Any,
    /// `true` or `false`.
    Bool,
    /// 64 bits.
    Int,
    /// Finite.
    Float,
    /// Text.
    Str,
    /// Not UTF-8.
    Bytes,
    /// A list.
    List(Box<Type>),
    /// A map whose keys are data.
    Map(Box<Type>),
    /// A map whose keys are known.
    Record(BTreeMap<Arc<str>, Type>),
    /// Elements of several types: can be printed and ranged over.
    Mixed,
    /// A string or int that is checked further.
    Refined(Refinement),
    /// `secret<string>`, or a text computed from one.
    Secret,
}

/// How deep `list<list<...>>` may go; text is deeper than that only out of malice.
const MAX_TYPE_DEPTH: usize = 32;

impl Type {
    /// Reads `list<int>`, `enum(a, b)` and the like.
    pub fn parse(text: &str) -> Option<Type> {
        Type::parse_within(text, MAX_TYPE_DEPTH)
    }

    fn parse_within(text: &str, depth: usize) -> Option<Type> {
        let depth = depth.checked_sub(1)?;
        let text = text.trim();
        let inside = |prefix: &str, suffix: char| {
            text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix)).map(str::trim)
        };
        if let Some(inner) = inside("list<", '>') {
            return Some(Type::List(Box::new(Type::parse_within(inner, depth)?)));
        }
        if let Some(inner) = inside("map<", '>') {
            return Some(Type::Map(Box::new(Type::parse_within(inner, depth)?)));
        }
        if let Some(inner) = inside("enum(", ')') {
            let values: Vec<Arc<str>> = inner.split(',').map(|v| Arc::from(v.trim())).collect();
            return values.iter().all(|v| !v.is_empty()).then_some(Type::Refined(Refinement::Enum(values)));
        }
        Some(match text {
            "any" => Type::Any,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "float" => Type::Float,
            "string" => Type::Str,
            "bytes" => Type::Bytes,
            "list" => Type::List(Box::new(Type::Any)),
            "map" | "record" => Type::Map(Box::new(Type::Any)),
            "secret" | "secret<string>" => Type::Secret,
            "path" => Type::Refined(Refinement::Path),
            "mode" => Type::Refined(Refinement::Mode),
            "port" => Type::Refined(Refinement::Port),
            "duration" => Type::Refined(Refinement::Duration),
            "cidr" => Type::Refined(Refinement::Cidr),
            "ip" => Type::Refined(Refinement::Ip),
            "url" => Type::Refined(Refinement::Url),
            "regex" => Type::Refined(Refinement::Regex),
            "semver" => Type::Refined(Refinement::Semver),
            "cron" => Type::Refined(Refinement::Cron),
            _ => return None,
        })
    }

    /// Every name [`Type::parse`] knows, for suggestions.
    pub const NAMES: [&str; 20] = [
        "bool",
        "int",
        "float",
        "string",
        "bytes",
        "list",
        "map",
        "record",
        "path",
        "mode",
        "port",
        "duration",
        "cidr",
        "ip",
        "url",
        "regex",
        "enum(...)",
        "semver",
        "cron",
        "secret",
    ];

    /// The type of a default.
    pub fn of(value: &Value) -> Type {
        match value {
            Value::Null => Type::Any,
            Value::Bool(_) => Type::Bool,
            Value::Int(_) => Type::Int,
            Value::Float(_) => Type::Float,
            Value::Str(_) => Type::Str,
            Value::Bytes(_) => Type::Bytes,
            Value::Secret(_) => Type::Secret,
            Value::List(items) => {
                let element = items.iter().map(Type::of).reduce(|a, b| a.join(b)).unwrap_or(Type::Any);
                Type::List(Box::new(element))
            }
            Value::Map(m) if m.is_empty() => Type::Map(Box::new(Type::Any)),
            Value::Map(m) => Type::Record(m.iter().map(|(k, v)| (k.clone(), Type::of(v))).collect()),
        }
    }

    /// The least type that both fit, [`Type::Mixed`] when there is none.
    pub fn join(self, other: Type) -> Type {
        match (self, other) {
            (a, b) if a == b => a,
            (Type::Any, t) | (t, Type::Any) => t,
            (Type::Int | Type::Float, Type::Int | Type::Float) => Type::Float,
            (Type::Secret, t) | (t, Type::Secret) if t.is_text() => Type::Secret,
            (Type::List(a), Type::List(b)) => Type::List(Box::new(a.join(*b))),
            (Type::Map(a), Type::Map(b)) => Type::Map(Box::new(a.join(*b))),
            (Type::Record(mut a), Type::Record(b)) => {
                for (k, t) in b {
                    let joined = match a.remove(&k) {
                        Some(mine) => mine.join(t),
                        None => t,
                    };
                    a.insert(k, joined);
                }
                Type::Record(a)
            }
            (Type::Record(r), Type::Map(t)) | (Type::Map(t), Type::Record(r)) => {
                Type::Map(Box::new(r.into_values().fold(*t, Type::join)))
            }
            (a, b) if a.is_text() && b.is_text() => Type::Str,
            (a, b) if a.is_int() && b.is_int() => Type::Int,
            // what may be a secret is one
            (a, b) if a.holds_secret() || b.holds_secret() => Type::Secret,
            _ => Type::Mixed,
        }
    }

    /// The type of a variable to which two modules give these types; `None` when no value has both.
    pub fn agreed(&self, other: &Type) -> Option<Type> {
        Some(match (self, other) {
            (a, b) if a == b => a.clone(),
            (Type::Any, t) | (t, Type::Any) => t.clone(),
            (Type::Secret, t) | (t, Type::Secret) if t.is_text() => Type::Secret,
            (Type::Str, refined) | (refined, Type::Str) if refined.is_text() => refined.clone(),
            (Type::Int, refined) | (refined, Type::Int) if refined.is_int() => refined.clone(),
            (Type::Float, t) | (t, Type::Float) if t.is_number() => Type::Float,
            (Type::List(a), Type::List(b)) => Type::List(Box::new(a.agreed(b)?)),
            (Type::Map(a), Type::Map(b)) => Type::Map(Box::new(a.agreed(b)?)),
            (Type::Record(fields), Type::Map(t)) | (Type::Map(t), Type::Record(fields)) => {
                let all = fields.values().try_fold((**t).clone(), |all, field| all.agreed(field))?;
                Type::Map(Box::new(all))
            }
            (Type::Record(a), Type::Record(b)) => {
                let mut fields = a.clone();
                for (name, theirs) in b {
                    let both = match a.get(name) {
                        Some(ours) => ours.agreed(theirs)?,
                        None => theirs.clone(),
                    };
                    fields.insert(name.clone(), both);
                }
                Type::Record(fields)
            }
            (Type::Mixed, _) | (_, Type::Mixed) => Type::Mixed,
            _ => return None,
        })
    }

    /// The type of a place that holds `value` from now on: what a secret fills is secret, whatever was declared.
    pub fn holding(self, value: &Value) -> Type {
        match (self, value) {
            (t, Value::Secret(_)) if t.is_text() || t == Type::Any => Type::Secret,
            (Type::List(t), Value::List(items)) => {
                Type::List(Box::new(items.iter().fold(*t, |t, item| t.holding(item))))
            }
            (Type::Map(t), Value::Map(map)) => {
                Type::Map(Box::new(map.values().fold(*t, |t, item| t.holding(item))))
            }
            (Type::Record(fields), Value::Map(map)) => Type::Record(
                fields
                    .into_iter()
                    .map(|(name, t)| match map.get(&name) {
                        Some(value) => (name, t.holding(value)),
                        None => (name, t),
                    })
                    .collect(),
            ),
            (t, _) => t,
        }
    }

    /// Whether `value` is of this type, refinements included.
    pub fn admits(&self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Secret(_)) => Type::Secret.fits(self),
            (Type::Refined(r), value) => r.accepts(value).is_ok(),
            (Type::List(t), Value::List(items)) => items.iter().all(|item| t.admits(item)),
            (Type::Map(t), Value::Map(map)) => map.values().all(|item| t.admits(item)),
            (Type::Record(fields), Value::Map(map)) => {
                map.iter().all(|(name, item)| fields.get(name).is_none_or(|t| t.admits(item)))
            }
            (t, value) => Type::of(value).fits(t),
        }
    }

    /// Whether values of this type are text (secrets excepted).
    pub fn is_text(&self) -> bool {
        match self {
            Type::Str => true,
            Type::Refined(r) => !matches!(r, Refinement::Port),
            _ => false,
        }
    }

    /// Whether values of this type are ints.
    pub fn is_int(&self) -> bool {
        matches!(self, Type::Int | Type::Refined(Refinement::Port))
    }

    /// Whether values of this type are numbers.
    pub fn is_number(&self) -> bool {
        self.is_int() || matches!(self, Type::Float)
    }

    /// Whether a secret may stand inside.
    pub fn holds_secret(&self) -> bool {
        match self {
            Type::Secret => true,
            Type::List(t) | Type::Map(t) => t.holds_secret(),
            Type::Record(r) => r.values().any(Type::holds_secret),
            _ => false,
        }
    }

    /// Whether every value of type `self` may stand where `wanted` is due. Refinements of the value
    /// itself are checked by [`Refinement::accepts`].
    pub fn fits(&self, wanted: &Type) -> bool {
        match (self, wanted) {
            (Type::Any, _) | (_, Type::Any) => true,
            (a, b) if a == b => true,
            (a, Type::Float) if a.is_int() => true,
            (Type::Secret, t) => t.is_text(),
            (a, Type::Str | Type::Secret) => a.is_text(),
            (a, Type::Int) => a.is_int(),
            // whether the text or number is one of the refinement is a matter of its value
            (Type::Str, Type::Refined(_)) => wanted.is_text(),
            (Type::Int, Type::Refined(Refinement::Port)) => true,
            (Type::List(a), Type::List(b)) | (Type::Map(a), Type::Map(b)) => a.fits(b),
            (Type::List(_), Type::Mixed) => true,
            (Type::Record(r), Type::Map(t)) => r.values().all(|f| f.fits(t)),
            (Type::Map(_), Type::Record(_)) => true,
            (Type::Record(a), Type::Record(b)) => {
                a.iter().all(|(k, t)| b.get(k).is_none_or(|wanted| t.fits(wanted)))
            }
            (_, Type::Mixed) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Any => f.write_str("any"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Float => f.write_str("float"),
            Type::Str => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::List(t) if **t == Type::Any => f.write_str("list"),
            Type::List(t) => write!(f, "list<{t}>"),
            Type::Map(t) if **t == Type::Any => f.write_str("map"),
            Type::Map(t) => write!(f, "map<{t}>"),
            Type::Record(_) => f.write_str("map"),
            Type::Mixed => f.write_str("values of several types"),
            Type::Secret => f.write_str("secret<string>"),
            Type::Refined(r) => write!(f, "{r}"),
        }
    }
}

/// An int where a float is due becomes one.
pub fn widened(value: Value, wanted: &Type) -> Value {
    match (value, wanted) {
        (Value::Int(i), Type::Float) => Finite::new(i as f64).map_or(Value::Int(i), Value::Float),
        (Value::List(items), Type::List(t)) => {
            Value::List(items.into_iter().map(|v| widened(v, t)).collect())
        }
        (v, _) => v,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_a_depth() {
        let nested = |n: usize| "list<".repeat(n) + "int" + &">".repeat(n);
        assert!(Type::parse(&nested(MAX_TYPE_DEPTH - 1)).is_some());
        assert!(Type::parse(&nested(MAX_TYPE_DEPTH)).is_none());
        assert!(Type::parse(&nested(1_000_000)).is_none());
    }

    #[test]
    fn what_holds_a_secret_is_secret() {
        let t = |s| Type::parse(s).unwrap();
        let secret = Value::Secret("a/b".into());
        assert_eq!(t("url").holding(&secret), Type::Secret);
        let list = Value::List(vec![Value::str("x"), secret.clone()]);
        assert!(t("list<string>").holding(&list).holds_secret());
        let mixed = Value::List(vec![Value::Int(1), secret.clone(), Value::List(Vec::new())]);
        assert!(Type::of(&mixed).holds_secret());
        let map = Value::Map([("k".into(), secret)].into());
        assert!(t("map<string>").holding(&map).holds_secret());
    }

    #[test]
    fn two_modules_agree_on_a_type_or_not() {
        let t = |s| Type::parse(s).unwrap();
        assert_eq!(t("int").agreed(&t("port")), Some(t("port")));
        assert_eq!(t("url").agreed(&t("string")), Some(t("url")));
        assert_eq!(t("list").agreed(&t("list<int>")), Some(t("list<int>")));
        for (a, b) in [("int", "string"), ("url", "path"), ("bool", "int"), ("list<int>", "list<string>")] {
            assert_eq!(t(a).agreed(&t(b)), None, "{a} {b}");
        }
        assert!(!t("port").admits(&Value::Int(0)));
        assert!(!t("list<port>").admits(&Value::List(vec![Value::Int(0)])));
        assert!(t("float").admits(&Value::Int(0)));
    }

    #[test]
    fn an_override_fits_or_not() {
        let t = |s| Type::parse(s).unwrap();
        assert!(t("int").fits(&t("float")));
        assert!(!t("float").fits(&t("int")));
        assert!(t("secret").fits(&t("string")));
        assert!(!t("string").fits(&t("port")));
        assert!(t("int").fits(&t("port")));
        assert!(!t("bool").fits(&t("string")));
        assert!(t("list").fits(&t("list<int>")));
        assert!(!t("list<string>").fits(&t("list<int>")));
    }
}
