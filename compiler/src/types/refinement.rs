//! Refinements: text and ints of which only some are right, and what a right one looks like.

use ir::Value;
use std::fmt;
use std::sync::Arc;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Type;

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
}
