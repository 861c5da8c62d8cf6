//! Printing, and functions from text to text.

use super::number::{Exponent, float};
use super::quote::quoted;
use super::{Answer, Fault, exactly, int, string, within};
use crate::eval::EvalErrorKind;
use crate::value::Value;
use std::borrow::Cow;

/// A value as Go's `%v` prints it.
///
/// Bytes are for files only, and a secret has no text before the agent asks for it: both are errors.
pub fn render(value: &Value) -> Result<String, EvalErrorKind> {
    let mut out = String::new();
    write(value, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut String) -> Result<(), EvalErrorKind> {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(i) => out.push_str(&i.to_string()),
        Value::Float(f) => out.push_str(&float(f.get(), Exponent::WhenLong, None)),
        Value::Str(s) => out.push_str(s),
        Value::Bytes(_) => return Err(EvalErrorKind::Type { expected: "text", found: "bytes" }),
        Value::Secret(path) => return Err(EvalErrorKind::NotYet(format!("secret:{path}"))),
        Value::List(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(' ');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push_str("map[");
            for (n, (key, item)) in map.iter().enumerate() {
                if n > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                write(item, out)?;
            }
            out.push(']');
        }
    }
    Ok(())
}

/// [`render`] as a function's own complaint.
pub(crate) fn plain(value: &Value) -> Result<Cow<'_, str>, Fault> {
    match value {
        Value::Str(s) => Ok(Cow::Borrowed(s)),
        v => render(v).map(Cow::Owned).map_err(|e| Fault::Message(e.to_string())),
    }
}

/// Go's `Sprint`: a space between operands when neither is a string.
pub(crate) fn sprint(args: &[Value]) -> Result<String, Fault> {
    let mut out = String::new();
    let mut after_string = true;
    for arg in args {
        let is_string = matches!(arg, Value::Str(_));
        if !is_string && !after_string {
            out.push(' ');
        }
        out.push_str(&plain(arg)?);
        after_string = is_string;
    }
    Ok(out)
}

pub(crate) fn print(args: &[Value]) -> Answer {
    Ok(Value::from(sprint(args)?))
}

pub(crate) fn println(args: &[Value]) -> Answer {
    let parts = args.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    Ok(Value::from(parts.join(" ") + "\n"))
}

/// Character by character, as Go does: `ß` stays, since its capital is not one character.
pub(crate) fn upper(args: &[Value]) -> Answer {
    let [s] = exactly(args)?;
    Ok(Value::from(string(s)?.chars().map(upper_char).collect::<String>()))
}

fn upper_char(c: char) -> char {
    // These have a title-case letter that Unicode's simple mapping takes for their capital.
    let title = match c as u32 {
        n @ (0x1f80..=0x1f87 | 0x1f90..=0x1f97 | 0x1fa0..=0x1fa7) => char::from_u32(n + 8),
        n @ (0x1fb3 | 0x1fc3 | 0x1ff3) => char::from_u32(n + 9),
        _ => None,
    };
    title.unwrap_or_else(|| only(c.to_uppercase()).unwrap_or(c))
}

pub(crate) fn lower(args: &[Value]) -> Answer {
    let [s] = exactly(args)?;
    let lower_char = |c: char| if c == 'İ' { 'i' } else { only(c.to_lowercase()).unwrap_or(c) };
    Ok(Value::from(string(s)?.chars().map(lower_char).collect::<String>()))
}

fn only(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let first = chars.next();
    if chars.next().is_none() { first } else { None }
}

pub(crate) fn trim(args: &[Value]) -> Answer {
    let [s] = exactly(args)?;
    Ok(Value::str(string(s)?.trim()))
}

pub(crate) fn replace(args: &[Value], limit: usize) -> Answer {
    let [old, new, text] = exactly(args)?;
    let (old, new, text) = (string(old)?, string(new)?, string(text)?);
    let times = text.matches(old).count();
    within(times.checked_mul(new.len()).and_then(|n| n.checked_add(text.len() - times * old.len())), limit)?;
    Ok(Value::from(text.replace(old, new)))
}

/// Each argument but null in double quotes, as Go writes a string.
pub(crate) fn quote(args: &[Value]) -> Answer {
    around(args, |text| quoted(text, false))
}

/// Each argument but null in single quotes, without escapes.
pub(crate) fn squote(args: &[Value]) -> Answer {
    around(args, |text| format!("'{text}'"))
}

fn around(args: &[Value], quote: impl Fn(&str) -> String) -> Answer {
    let args = args.iter().filter(|v| **v != Value::Null);
    let parts = args.map(|v| Ok(quote(&plain(v)?))).collect::<Result<Vec<_>, Fault>>()?;
    Ok(Value::from(parts.join(" ")))
}

pub(crate) fn indent(args: &[Value], limit: usize) -> Answer {
    Ok(Value::from(indented(args, limit)?))
}

pub(crate) fn nindent(args: &[Value], limit: usize) -> Answer {
    Ok(Value::from(format!("\n{}", indented(args, limit)?)))
}

/// Every line, empty ones too.
fn indented(args: &[Value], limit: usize) -> Result<String, Fault> {
    let [spaces, text] = exactly(args)?;
    let (spaces, text) = (int(spaces)?, string(text)?);
    let spaces = usize::try_from(spaces).map_err(|_| Fault::from("cannot indent by less than nothing"))?;
    let lines = text.matches('\n').count() + 1;
    within(lines.checked_mul(spaces).and_then(|n| n.checked_add(text.len() + 1)), limit)?;
    let pad = " ".repeat(spaces);
    Ok(format!("{pad}{}", text.replace('\n', &format!("\n{pad}"))))
}
