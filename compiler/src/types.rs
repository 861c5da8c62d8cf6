//! Types of variables, attributes and expressions.

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

/// A refinement of string or int.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refinement {
    /// Absolute, without `..`.
    Path,
    /// Octal digits in quotes.
    Mode,
    /// 1 to 65535.
    Port,
    /// `30s`, `5m`, `1h30m`.
    Duration,
    /// `10.0.0.0/8`
    Cidr,
    /// An address.
    Ip,
    /// With a scheme.
    Url,
    /// A regular expression.
    Regex,
    /// One of these.
    Enum(Vec<Arc<str>>),
    /// `1.2.3`
    Semver,
    /// Five fields.
    Cron,
}

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

impl fmt::Display for Refinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refinement::Path => "path",
            Refinement::Mode => "mode",
            Refinement::Port => "port",
            Refinement::Duration => "duration",
            Refinement::Cidr => "cidr",
            Refinement::Ip => "ip",
            Refinement::Url => "url",
            Refinement::Regex => "regex",
            Refinement::Semver => "semver",
            Refinement::Cron => "cron",
            Refinement::Enum(values) => return write!(f, "enum({})", values.join(", ")),
        })
    }
}

impl Refinement {
    /// Whether a value is one; the error says what one looks like.
    pub fn accepts(&self, value: &Value) -> Result<(), String> {
        match (self, value) {
            (Refinement::Port, Value::Int(i)) if (1..=65535).contains(i) => Ok(()),
            (Refinement::Port, _) => Err("a port is an int from 1 to 65535".into()),
            (_, Value::Str(text)) => self.accepts_text(text),
            (_, Value::Secret(_)) => Ok(()),
            _ => Err(format!("a {self} is text")),
        }
    }

    fn accepts_text(&self, text: &str) -> Result<(), String> {
        let ok = |good: bool, expected: &str| if good { Ok(()) } else { Err(expected.to_owned()) };
        match self {
            Refinement::Path => ok(
                text.starts_with('/') && !text.contains('\0') && !text.split('/').any(|part| part == ".."),
                "a path is absolute and has no `..`",
            ),
            Refinement::Mode => ok(
                matches!(text.len(), 3..=4) && text.bytes().all(|b| (b'0'..=b'7').contains(&b)),
                "a mode is three or four octal digits in quotes, such as \"0644\"",
            ),
            Refinement::Port => ok(false, "a port is an int from 1 to 65535"),
            Refinement::Duration => {
                ok(duration(text).is_some(), "a duration is like `30s`, `5m`, `1h30m` or `7d`")
            }
            Refinement::Ip => {
                ok(text.parse::<std::net::IpAddr>().is_ok(), "an ip is like `192.0.2.1` or `2001:db8::1`")
            }
            Refinement::Cidr => ok(cidr(text), "a cidr is like `10.0.0.0/8` or `2001:db8::/32`"),
            Refinement::Url => ok(url(text), "a url is like `https://example.com/path`"),
            Refinement::Regex => regex::Regex::new(text).map(drop).map_err(|e| {
                let reason = e.to_string();
                let last = reason.lines().last().unwrap_or_default();
                format!("not a regular expression: {}", last.trim_start_matches("error: "))
            }),
            Refinement::Semver => ok(semver(text), "a semver is like `1.2.3` or `1.2.3-rc.1`"),
            Refinement::Cron => ok(cron(text), "a cron is five fields (minute hour day month weekday)"),
            Refinement::Enum(values) => {
                if values.iter().any(|v| &**v == text) {
                    return Ok(());
                }
                let near = crate::diagnostic::nearest::nearest(text, values.iter().map(|v| &**v));
                Err(match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => {
                        format!("one of {}", crate::diagnostic::nearest::listed(values.iter().map(|v| &**v)))
                    }
                })
            }
        }
    }
}

/// A duration in seconds; units `s m h d w`, largest first.
pub fn duration(text: &str) -> Option<u64> {
    let (mut rest, mut total, mut last) = (text, 0u64, u64::MAX);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let n: u64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes().get(digits)? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        if unit >= last {
            return None;
        }
        last = unit;
        total = total.checked_add(n.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    Some(total)
}

fn cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let limit = match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    !bits.is_empty()
        && bits.bytes().all(|b| b.is_ascii_digit())
        && bits.parse::<u32>().is_ok_and(|b| b <= limit)
}

fn url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let first = scheme.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    first
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        && !rest.is_empty()
        && !rest.contains(char::is_whitespace)
}

fn semver(text: &str) -> bool {
    let core = text.split_once('+').map_or(text, |(core, _)| core);
    let core = core.split_once('-').map_or(core, |(core, _)| core);
    let parts: Vec<&str> = core.split('.').collect();
    let number = |p: &&str| {
        !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) && (p.len() == 1 || !p.starts_with('0'))
    };
    parts.len() == 3 && parts.iter().all(number)
}

fn cron(text: &str) -> bool {
    let limits = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let number = |t: &str, (low, high): (u32, u32)| t.parse::<u32>().is_ok_and(|n| (low..=high).contains(&n));
    fields.len() == 5
        && fields.iter().zip(limits).all(|(field, limit)| {
            field.split(',').all(|part| {
                let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
                let range_ok = range == "*"
                    || match range.split_once('-') {
                        Some((a, b)) => number(a, limit) && number(b, limit),
                        None => number(range, limit),
                    };
                range_ok && step.is_none_or(|s| s.parse::<u32>().is_ok_and(|n| n > 0))
            })
        })
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
    fn refinements_accept_what_they_name() {
        let good = [
            ("path", "/etc/x"),
            ("mode", "0644"),
            ("mode", "644"),
            ("duration", "1h30m"),
            ("cidr", "10.0.0.0/8"),
            ("ip", "::1"),
            ("url", "https://x/y"),
            ("regex", "^a+$"),
            ("semver", "1.2.3-rc.1+b"),
            ("cron", "*/5 0-3 1,15 * 7"),
            ("enum(a, b)", "b"),
        ];
        let bad = [
            ("path", "etc/x"),
            ("path", "/etc/../x"),
            ("mode", "0999"),
            ("mode", "64"),
            ("duration", "5"),
            ("duration", "5m1h"),
            ("duration", ""),
            ("cidr", "10.0.0.0/33"),
            ("cidr", "10.0.0.0/+8"),
            ("ip", "1.2.3"),
            ("url", "example.com"),
            ("regex", "("),
            ("semver", "1.02.3"),
            ("cron", "60 * * * *"),
            ("cron", "* * * *"),
            ("enum(a, b)", "c"),
        ];
        for (cases, expected) in [(&good[..], true), (&bad[..], false)] {
            for (name, text) in cases {
                let Some(Type::Refined(r)) = Type::parse(name) else { panic!("{name}") };
                assert_eq!(r.accepts(&Value::str(text)).is_ok(), expected, "{name} {text}");
            }
        }
        assert!(Refinement::Port.accepts(&Value::Int(65536)).is_err());
    }

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
