//! `toYaml`: block style as Helm's function of that name writes it; a list inside a map is not indented further.
//!
//! A string is quoted exactly where a reader of YAML 1.2 or 1.1 would otherwise give back something else. The rules
//! for plain scalars are those of a block context; the spellings are those of both core schemas, of go-yaml and
//! PyYAML.

use super::json::number;
use super::{Answer, Fault, exactly};
use crate::value::Value;

pub(crate) fn to_yaml(args: &[Value]) -> Answer {
    let [v] = exactly(args)?;
    let mut out = String::new();
    write(v, 0, true, &mut out)?;
    Ok(Value::from(out))
}

/// `last`: nothing follows, so a literal block would lose its final newline.
fn write(value: &Value, indent: usize, last: bool, out: &mut String) -> Result<(), Fault> {
    match value {
        Value::Map(map) if !map.is_empty() => {
            for (n, (key, item)) in map.iter().enumerate() {
                if n > 0 {
                    line(indent, out);
                }
                out.push_str(&inline(key));
                out.push(':');
                match item {
                    Value::Map(m) if !m.is_empty() => line(indent + 2, out),
                    Value::List(l) if !l.is_empty() => line(indent, out),
                    _ => out.push(' '),
                }
                let deeper = if matches!(item, Value::List(_)) { indent } else { indent + 2 };
                write(item, deeper, last && n + 1 == map.len(), out)?;
            }
        }
        Value::List(items) if !items.is_empty() => {
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    line(indent, out);
                }
                out.push_str("- ");
                write(item, indent + 2, last && n + 1 == items.len(), out)?;
            }
        }
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(i) => out.push_str(&i.to_string()),
        Value::Float(f) => out.push_str(&with_point(number(f.get()))),
        Value::Map(_) => out.push_str("{}"),
        Value::List(_) => out.push_str("[]"),
        Value::Str(s) if is_literal(s, indent, last) => literal(s, indent, out),
        Value::Str(s) => out.push_str(&inline(s)),
        Value::Bytes(_) => return Err("bytes cannot be printed".into()),
        Value::Secret(_) => return Err("a secret is not known yet".into()),
    }
    Ok(())
}

fn line(indent: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
}

/// So that it is read as a float again; YAML 1.1 wants a point even before an exponent.
fn with_point(number: String) -> String {
    match number.split_once('e') {
        _ if number.contains('.') => number,
        Some((mantissa, exp)) => format!("{mantissa}.0e{exp}"),
        None => number + ".0",
    }
}

/// Text of several lines is easier to read as a block, where that is faithful: inside a map or list, with at
/// most one final newline, and no line that says the indentation wrongly.
fn is_literal(s: &str, indent: usize, last: bool) -> bool {
    let body = s.strip_suffix('\n').unwrap_or(s);
    indent > 0
        && body.contains('\n')
        && !(last && s.ends_with('\n'))
        && !body.ends_with('\n')
        && !s.starts_with([' ', '\n', '\t'])
        && s.chars().all(|c| c == '\n' || c == '\t' || printable(c))
}

fn literal(s: &str, indent: usize, out: &mut String) {
    let body = s.strip_suffix('\n');
    out.push_str(if body.is_some() { "|" } else { "|-" });
    for text in body.unwrap_or(s).split('\n') {
        if text.is_empty() {
            out.push('\n');
        } else {
            line(indent, out);
            out.push_str(text);
        }
    }
}

/// On one line: plain, in single quotes, or with escapes in double quotes.
fn inline(s: &str) -> String {
    if !s.chars().all(printable) {
        return escaped(s);
    }
    if is_plain(s) { s.to_owned() } else { format!("'{}'", s.replace('\'', "''")) }
}

fn escaped(s: &str) -> String {
    let mut out = String::from('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if printable(c) => out.push(c),
            c if (c as u32) < 0x100 => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if (c as u32) < 0x10000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push('"');
    out
}

/// What may stand in a plain or single-quoted scalar on one line, in both versions of YAML.
fn printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}'
        | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

fn is_plain(s: &str) -> bool {
    let indicator = match s.as_bytes() {
        [] => true,
        [b'-' | b'?' | b':'] => true,
        [b'-' | b'?' | b':', next, ..] => *next == b' ',
        [first, ..] => b",[]{}#&*!|>'\"%@` ".contains(first),
    };
    !(indicator
        || s.ends_with([' ', ':'])
        || s.contains(": ")
        || s.contains(" #")
        || s.starts_with("---")
        || s.starts_with("...")
        || is_word(s)
        || is_number(s)
        || is_time(s))
}

/// Null, booleans, and the special keys of YAML 1.1.
fn is_word(s: &str) -> bool {
    if matches!(s, "~" | "=" | "<<") {
        return true;
    }
    let lower = s.to_ascii_lowercase();
    let word = matches!(lower.as_str(), "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n");
    let first_upper = s.starts_with(|c: char| c.is_ascii_uppercase())
        && s.get(1..).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_lowercase()));
    word && (s == lower || first_upper || s.bytes().all(|b| b.is_ascii_uppercase()))
}

fn is_number(s: &str) -> bool {
    let body = s.strip_prefix(['+', '-']).unwrap_or(s);
    let all = |s: &str, what: fn(u8) -> bool| !s.is_empty() && s.bytes().all(|b| b == b'_' || what(b));
    let digits = |s: &str| all(s, |b| b.is_ascii_digit());
    if matches!(body, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    if let Some(hex) = body.strip_prefix("0x") {
        return all(hex, |b| b.is_ascii_hexdigit());
    }
    if let Some(rest) = body.strip_prefix("0b").or_else(|| body.strip_prefix("0o")) {
        return digits(rest);
    }
    if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    // 190:20:30 is a number to YAML 1.1.
    if let Some((first, rest)) = body.split_once(':') {
        let (whole, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
        return digits(first)
            && whole.split(':').all(|p| matches!(p.len(), 1 | 2) && digits(p))
            && (fraction.is_empty() || digits(fraction));
    }
    let (mantissa, exp) = body.split_once(['e', 'E']).unwrap_or((body, "0"));
    let exp = exp.strip_prefix(['+', '-']).unwrap_or(exp);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let begins = !whole.is_empty() || fraction.starts_with(|c: char| c.is_ascii_digit());
    begins
        && (whole.is_empty() || digits(whole))
        && (fraction.is_empty() || digits(fraction))
        && !exp.is_empty()
        && exp.bytes().all(|b| b.is_ascii_digit())
}

/// A date of YAML 1.1, alone or before a time.
fn is_time(s: &str) -> bool {
    let date = s.split(['T', 't', ' ']).next().unwrap_or_default();
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let number =
        |s: &str, most: usize| (1..=most).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
    let rest = s.get(date.len()..).unwrap_or_default();
    let time = rest.trim_start_matches(['T', 't', ' ']);
    year.len() == 4
        && number(year, 4)
        && number(month, 2)
        && number(day, 2)
        && (rest.is_empty() || time.starts_with(|c: char| c.is_ascii_digit()) && time.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Finite;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn yaml(v: impl Into<Value>) -> String {
        to_yaml(&[v.into()]).unwrap().as_str().unwrap().to_owned()
    }

    fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
        Value::Map(entries.into_iter().map(|(k, v)| (Arc::from(k), v)).collect())
    }

    #[test]
    fn blocks_nest_by_two_spaces() {
        let inner =
            map([("b", Value::Int(1)), ("a", Value::List(vec!["x".into(), map([("k", Value::Null)])]))]);
        let lists = Value::List(vec![
            Value::List(vec!["p".into(), "q".into()]),
            map([("r", true.into()), ("s", "t".into())]),
        ]);
        let all = map([
            ("empty", Value::List(vec![])),
            ("inner", inner),
            ("lists", lists),
            ("none", Value::Map(BTreeMap::new())),
            ("on", "off".into()),
            ("text", "a\n\n  b".into()),
            ("zero", Value::Float(Finite::new(0.0).unwrap())),
        ]);
        let expected = "\
empty: []
inner:
  a:
  - x
  - k: null
  b: 1
lists:
- - p
  - q
- r: true
  s: t
none: {}
'on': 'off'
text: |-
  a

    b
zero: 0.0";
        assert_eq!(yaml(all), expected);
    }

    #[test]
    fn a_final_newline_survives() {
        let text = Value::from("a\nb\n");
        assert_eq!(yaml(map([("k", text.clone()), ("l", 1.into())])), "k: |\n  a\n  b\nl: 1");
        assert_eq!(yaml(map([("k", text)])), "k: \"a\\nb\\n\"");
    }

    #[test]
    fn only_what_would_be_misread_is_quoted() {
        let plain = "a,a b,a: -,1.2.3,v1,10.0.0.1,/etc/a.conf,a#b,-a,a:b,80:a,0x,0644a,2024-1,é,日本,Yes!,nO,1e,.,._,a'b,x\"y,=a,12:3a";
        for s in plain.split(',').filter(|s| *s != "a: -") {
            assert_eq!(yaml(s), s);
        }
        let quoted = [
            "",
            " a",
            "a ",
            "a: b",
            "a #b",
            "a:",
            "- a",
            "-",
            "?",
            ":",
            "&a",
            "*a",
            "!a",
            "%a",
            "@a",
            "`a",
            "'a",
            "[a",
            "{a",
            "#a",
            "|",
            ">",
            ",a",
            "]",
            "---",
            "...",
            "~",
            "null",
            "NULL",
            "True",
            "y",
            "ON",
            "=",
            "<<",
            "0",
            "-1",
            "+1",
            "1_000",
            "0o17",
            "0644",
            "08",
            "0x1F",
            "0b11",
            "1.5",
            "1.",
            ".5",
            "1e3",
            "1.0e+06",
            ".inf",
            "-.INF",
            ".NaN",
            "190:20:30",
            "1:2.5",
            "2024-01-02",
            "2024-1-2 3:04:05",
            "2001-12-14t21:59:43.10-05:00",
        ];
        for s in quoted {
            assert_eq!(yaml(s), format!("'{}'", s.replace('\'', "''")));
        }
        assert_eq!(yaml("a\tb\u{85}\u{feff}\u{1}"), "\"a\\tb\\x85\\ufeff\\x01\"");
    }
}
