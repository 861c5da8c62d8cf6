//! `toJson`: Go's `json.Marshal`, with its escapes for HTML.

use super::number::{Exponent, float};
use super::{Answer, Fault, exactly};
use crate::value::Value;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(crate) fn to_json(args: &[Value]) -> Answer {
    let [v] = exactly(args)?;
    let mut out = String::new();
    write(v, &mut out)?;
    Ok(Value::from(out))
}

fn write(value: &Value, out: &mut String) -> Result<(), Fault> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(i) => out.push_str(&i.to_string()),
        Value::Float(f) => out.push_str(&number(f.get())),
        Value::Str(s) => write_string(s, out),
        Value::Bytes(b) => write_string(&STANDARD.encode(b), out),
        Value::Secret(_) => return Err("a secret is not known yet".into()),
        Value::List(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (n, (key, item)) in map.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write_string(key, out);
                out.push(':');
                write(item, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// As ECMAScript does: an exponent only for very small and very large numbers, and without leading zeros.
pub(super) fn number(f: f64) -> String {
    if f == 0.0 || (1e-6..1e21).contains(&f.abs()) {
        return float(f, Exponent::Never, None);
    }
    float(f, Exponent::Always, None).replace("e-0", "e-")
}

fn write_string(s: &str, out: &mut String) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
