//! From written text to values: a scalar is typed by the place it stands in.

use crate::diagnostic::Sink;
use crate::diagnostic::codes::{AMBIGUOUS_SCALAR, INVALID_VALUE, NEEDS_QUOTES, TYPE_MISMATCH, UNKNOWN_FIELD};
use crate::diagnostic::nearest::did_you_mean;
use crate::syntax::{Syn, SynKind, Text};
use crate::types::{Refinement, Type, widened};
use grammar::Span;
use grammar::document::Core;
use ir::{Finite, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a finding calls the place a value stands in, such as "`port`".
pub type What<'a> = &'a str;

/// The value of a variable whose type nothing declares: the core schema decides.
pub fn untyped(syn: &Syn, sink: &mut Sink) -> Option<Value> {
    match &syn.kind {
        SynKind::Empty => Some(Value::Null),
        SynKind::Error => None,
        SynKind::Text(text) => untyped_scalar(text, syn.span, sink),
        SynKind::List(items) => {
            Some(Value::List(items.iter().map(|s| untyped(s, sink)).collect::<Option<_>>()?))
        }
        SynKind::Map(entries) => {
            let mut map = BTreeMap::new();
            for (key, value) in entries {
                map.insert(Arc::from(key.text.as_str()), untyped(value, sink)?);
            }
            Some(Value::Map(map))
        }
    }
}

fn untyped_scalar(text: &Text, span: Span, sink: &mut Sink) -> Option<Value> {
    let written = text.scalar.text.as_str();
    if let Some(path) = secret_path(written) {
        return Some(Value::Secret(path.into()));
    }
    Some(match text.scalar.core() {
        Core::Null => Value::Null,
        Core::Bool(b) => Value::Bool(b),
        Core::Int(i) => {
            let digits = written.trim_start_matches(['-', '+']);
            if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) {
                let help = format!("write `{i}` for the number, or \"{written}\" for the text");
                ambiguous(sink, span, written, "some readers take a leading zero for an octal number", help);
            }
            Value::Int(i)
        }
        Core::Float(f) => Value::Float(Finite::new(f)?),
        Core::Str => {
            if text.is_plain()
                && written.len() > 1
                && let Some(meant) = as_yaml11_bool(written)
            {
                let help = format!("write `{meant}` for the bool, or \"{written}\" for the text");
                ambiguous(sink, span, written, "some readers take it for a bool; here it is text", help);
            }
            Value::str(written)
        }
        Core::OutOfRange => {
            let finding = sink
                .say(&INVALID_VALUE, span, format!("`{written}` is not a number that can be stored"))
                .label("out of range")
                .help("ints have 64 bits and floats are finite; put it in quotes to keep the text");
            sink.push(finding);
            return None;
        }
    })
}

fn ambiguous(sink: &mut Sink, span: Span, written: &str, why: &str, help: String) {
    let finding = sink
        .say(&AMBIGUOUS_SCALAR, span, format!("readers of YAML disagree about `{written}`: {why}"))
        .label("ambiguous")
        .help(help)
        .fix(span, format!("\"{written}\""));
    sink.push(finding);
}

/// The path of `secret:path`.
pub fn secret_path(text: &str) -> Option<&str> {
    text.strip_prefix("secret:").filter(|p| !p.is_empty() && !p.contains(char::is_whitespace))
}

/// `yes`, `off` and their kin, which YAML 1.1 takes for bools.
fn as_yaml11_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" => Some(true),
        "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

/// The value of a place whose type is known. `Value::Null` for a null; `None` when it was reported.
pub fn typed(syn: &Syn, ty: &Type, what: What<'_>, sink: &mut Sink) -> Option<Value> {
    match (&syn.kind, ty) {
        (SynKind::Error, _) => None,
        (SynKind::Empty, _) => Some(Value::Null),
        (_, Type::Any | Type::Mixed) => untyped(syn, sink),
        (SynKind::Text(text), _) => typed_scalar(text, syn.span, ty, what, sink),
        (SynKind::List(items), Type::List(element)) => {
            let what = format!("an item of {}", what.trim_start_matches("an item of "));
            let values: Vec<_> = items.iter().map(|s| typed(s, element, &what, sink)).collect();
            Some(Value::List(values.into_iter().collect::<Option<_>>()?))
        }
        (SynKind::Map(entries), Type::Map(element)) => {
            let mut map = BTreeMap::new();
            for (key, value) in entries {
                let what = field_of(what, &key.text);
                map.insert(Arc::from(key.text.as_str()), typed(value, element, &what, sink)?);
            }
            Some(Value::Map(map))
        }
        (SynKind::Map(entries), Type::Record(fields)) => {
            let mut map = BTreeMap::new();
            for (key, value) in entries {
                let value = match fields.get(key.text.as_str()) {
                    Some(ty) => typed(value, ty, &field_of(what, &key.text), sink)?,
                    // a map may gain keys
                    None => untyped(value, sink)?,
                };
                map.insert(Arc::from(key.text.as_str()), value);
            }
            Some(Value::Map(map))
        }
        _ => {
            let span = match syn.kind {
                SynKind::List(_) | SynKind::Map(_) => crate::syntax::fields::start_of(syn.span),
                _ => syn.span,
            };
            mismatch(sink, span, what, ty, syn.describe());
            None
        }
    }
}

/// `x` and `y` give `x.y`.
fn field_of(what: What<'_>, key: &str) -> String {
    match what.strip_suffix('`') {
        Some(open) => format!("{open}.{key}`"),
        None => format!("`{key}` in {what}"),
    }
}

/// A scalar in a place of a known type.
pub fn typed_scalar(text: &Text, span: Span, ty: &Type, what: What<'_>, sink: &mut Sink) -> Option<Value> {
    let written = text.scalar.text.as_str();
    if text.is_plain() && text.scalar.core() == Core::Null {
        return Some(Value::Null);
    }
    if let Some(path) = secret_path(written)
        && (ty.is_text() || *ty == Type::Secret)
    {
        return Some(Value::Secret(path.into()));
    }
    let value = match ty {
        Type::Bool => {
            if let (true, Core::Bool(b)) = (text.is_plain(), text.scalar.core()) {
                Value::Bool(b)
            } else {
                not_a_bool(text, span, what, sink);
                return None;
            }
        }
        Type::Int | Type::Float | Type::Refined(Refinement::Port) => {
            let value = match text.scalar.core() {
                Core::Int(i) => Value::Int(i),
                Core::Float(f) if *ty == Type::Float => Value::Float(Finite::new(f)?),
                _ => {
                    not_a_number(text, span, ty, what, sink);
                    return None;
                }
            };
            widened(value, ty)
        }
        Type::Refined(Refinement::Mode) if text.is_plain() => {
            let finding = sink
                .say(
                    &NEEDS_QUOTES,
                    span,
                    format!("{what} needs quotes: `{written}` means different numbers to different readers"),
                )
                .label("without quotes")
                .help(format!("write \"{written}\""))
                .fix(span, format!("\"{written}\""));
            sink.push(finding);
            return None;
        }
        Type::Str | Type::Refined(_) | Type::Secret => Value::str(written),
        Type::Bytes => Value::Bytes(written.as_bytes().into()),
        Type::Any | Type::Mixed => return untyped_scalar(text, span, sink),
        Type::List(_) | Type::Map(_) | Type::Record(_) => {
            let found = kind_of_scalar(text);
            mismatch(sink, span, what, ty, found);
            return None;
        }
    };
    check_refinement(&value, span, ty, what, sink).then_some(value)
}

/// Whether a value is one of its refined type; reports it if not.
pub fn check_refinement(value: &Value, span: Span, ty: &Type, what: What<'_>, sink: &mut Sink) -> bool {
    let Type::Refined(refinement) = ty else { return true };
    let Err(why) = refinement.accepts(value) else { return true };
    let shown = match value {
        Value::Str(s) => s.to_string(),
        Value::Int(i) => i.to_string(),
        other => other.kind().to_owned(),
    };
    let message = match refinement {
        Refinement::Enum(_) => format!("{what} cannot be `{shown}`"),
        _ => format!("`{shown}` is not {}, which {what} has to be", article(&refinement.to_string())),
    };
    let near = why.strip_prefix("did you mean `").and_then(|w| w.strip_suffix("`?")).map(str::to_owned);
    let mut finding = sink
        .say(&INVALID_VALUE, span, message)
        .label(match refinement {
            Refinement::Enum(_) => "not one of its values".to_owned(),
            _ => format!("not {}", article(&refinement.to_string())),
        })
        .help(why);
    if let Some(near) = near {
        finding = finding.guess(span, near);
    }
    sink.push(finding);
    false
}

fn kind_of_scalar(text: &Text) -> &'static str {
    match text.scalar.core() {
        Core::Null => "null",
        Core::Bool(_) => "bool",
        Core::Int(_) => "int",
        Core::Float(_) => "float",
        Core::Str | Core::OutOfRange => "string",
    }
}

fn not_a_bool(text: &Text, span: Span, what: What<'_>, sink: &mut Sink) {
    let written = &text.scalar.text;
    let meant = as_yaml11_bool(written).or(match written.as_str() {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    });
    let finding = sink
        .say(&TYPE_MISMATCH, span, format!("{what} is a bool, not {}", article(kind_of_scalar(text))))
        .label(kind_of_scalar(text));
    sink.push(match meant {
        Some(b) if !text.is_plain() => {
            finding.help(format!("write it without quotes: `{b}`")).fix(span, b.to_string())
        }
        Some(b) => finding.help(format!("write `{b}`")).fix(span, b.to_string()),
        None => finding.help("write `true` or `false`"),
    });
}

fn not_a_number(text: &Text, span: Span, ty: &Type, what: What<'_>, sink: &mut Sink) {
    let written = &text.scalar.text;
    if text.scalar.core() == Core::OutOfRange {
        let finding = sink
            .say(&INVALID_VALUE, span, format!("`{written}` is not a number that can be stored"))
            .label("out of range")
            .help("ints have 64 bits and floats are finite");
        sink.push(finding);
        return;
    }
    let found = kind_of_scalar(text);
    let finding = sink
        .say(&TYPE_MISMATCH, span, format!("{what} is {}, not {}", article(&ty.to_string()), article(found)))
        .label(found);
    let bare = !text.is_plain() && written.parse::<i64>().is_ok();
    sink.push(if bare {
        finding.help(format!("write it without quotes: `{written}`")).fix(span, written.as_str())
    } else {
        finding
    });
}

/// "an int", "a string".
pub fn article(name: &str) -> String {
    match name.chars().next() {
        _ if name.starts_with("nothing") || name.starts_with("a ") || name.starts_with("values") => {
            name.to_owned()
        }
        Some('a' | 'e' | 'i' | 'o') => format!("an {name}"),
        _ => format!("a {name}"),
    }
}

fn mismatch(sink: &mut Sink, span: Span, what: What<'_>, ty: &Type, found: &str) {
    let message = format!("{what} is {}, not {}", article(&ty.to_string()), article(found));
    let finding = sink.say(&TYPE_MISMATCH, span, message).label(found);
    sink.push(finding);
}

/// Reports a field that a map does not have.
pub fn unknown_field(
    sink: &mut Sink,
    span: Span,
    whole: &str,
    field: &str,
    fields: &BTreeMap<Arc<str>, Type>,
) {
    let known = did_you_mean(field, fields.keys().map(|k| &**k));
    let listed = crate::diagnostic::nearest::listed(fields.keys().map(|k| &**k));
    let finding = sink
        .say(&UNKNOWN_FIELD, span, format!("`{whole}` has no field `{field}`"))
        .label("no such field")
        .help(known.unwrap_or_else(|| format!("it has {listed}")));
    sink.push(finding);
}
