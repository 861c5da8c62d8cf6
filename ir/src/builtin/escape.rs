//! `html`, `js`, `urlquery`.

use super::quote::printable;
use super::text::sprint;
use super::{Answer, Fault};
use crate::value::Value;

/// What the escapers escape: their arguments printed, null as a template prints it.
fn joined(args: &[Value]) -> Result<String, Fault> {
    let printable = |v: &Value| if *v == Value::Null { Value::str("<no value>") } else { v.clone() };
    sprint(&args.iter().map(printable).collect::<Vec<_>>())
}

pub(crate) fn html(args: &[Value]) -> Answer {
    let mut out = String::new();
    for c in joined(args)?.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    Ok(Value::from(out))
}

pub(crate) fn js(args: &[Value]) -> Answer {
    let mut out = String::new();
    for c in joined(args)?.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if c < ' ' || (!c.is_ascii() && !printable(c)) => {
                out.push_str(&format!("\\u{:04X}", c as u32));
            }
            c => out.push(c),
        }
    }
    Ok(Value::from(out))
}

pub(crate) fn urlquery(args: &[Value]) -> Answer {
    let mut out = String::new();
    for byte in joined(args)?.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(Value::from(out))
}
