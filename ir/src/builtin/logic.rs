//! Truth and comparison as Go's templates have them.

use super::{Answer, Fault, exactly};
use crate::value::Value;
use std::cmp::Ordering;

/// Go's truth: zero values and empty things are false.
pub(crate) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Int(i) => *i != 0,
        Value::Float(f) => f.get() != 0.0,
        Value::Str(s) => !s.is_empty(),
        Value::Bytes(b) => !b.is_empty(),
        Value::List(l) => !l.is_empty(),
        Value::Map(m) => !m.is_empty(),
        // Asked for only after secrets were opened.
        Value::Secret(_) => true,
    }
}

pub(crate) fn not(args: &[Value]) -> Answer {
    let [v] = exactly(args)?;
    Ok(Value::Bool(!truth(v)))
}

/// Whether the first equals any of the others.
pub(crate) fn eq(args: &[Value]) -> Answer {
    let Some((first, others @ [_, ..])) = args.split_first() else {
        return Err("missing argument for comparison".into());
    };
    for other in others {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

pub(crate) fn ne(args: &[Value]) -> Answer {
    let [a, b] = exactly(args)?;
    Ok(Value::Bool(!equal(a, b)?))
}

pub(crate) fn lt(args: &[Value]) -> Answer {
    ordered(args, Ordering::is_lt)
}

pub(crate) fn le(args: &[Value]) -> Answer {
    ordered(args, Ordering::is_le)
}

pub(crate) fn gt(args: &[Value]) -> Answer {
    ordered(args, Ordering::is_gt)
}

pub(crate) fn ge(args: &[Value]) -> Answer {
    ordered(args, Ordering::is_ge)
}

fn equal(a: &Value, b: &Value) -> Result<bool, Fault> {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a.get() == b.get()),
        (Value::Bool(_), Value::Bool(_))
        | (Value::Int(_), Value::Int(_))
        | (Value::Str(_), Value::Str(_)) => Ok(a == b),
        _ => Err(Fault::Message(format!("cannot compare {} with {}", a.kind(), b.kind()))),
    }
}

fn ordered(args: &[Value], wanted: fn(Ordering) -> bool) -> Answer {
    let [a, b] = exactly(args)?;
    let order = match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Str(a), Value::Str(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.get().partial_cmp(&b.get()),
        _ => None,
    };
    match order {
        Some(order) => Ok(Value::Bool(wanted(order))),
        None => Err(Fault::Message(format!("cannot order {} and {}", a.kind(), b.kind()))),
    }
}
