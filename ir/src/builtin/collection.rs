//! Lists, maps, and strings taken apart.

use super::text::plain;
use super::{Answer, Fault, exactly, int, string, within};
use crate::value::Value;

/// Bytes of a string, elements of a list or map.
pub(crate) fn len(args: &[Value]) -> Answer {
    let [v] = exactly(args)?;
    let len = match v {
        Value::Str(s) => s.len(),
        Value::Bytes(b) => b.len(),
        Value::List(l) => l.len(),
        Value::Map(m) => m.len(),
        v => return Err(Fault::Message(format!("{} has no length", v.kind()))),
    };
    Ok(Value::Int(len as i64))
}

/// `index x 1 2` is `x[1][2]`. Unlike Go, a key that a map lacks is an error and not `<no value>`.
pub(crate) fn index(args: &[Value]) -> Answer {
    let Some((item, keys)) = args.split_first() else { return Err("takes at least 1 argument".into()) };
    let mut item = item;
    for (n, key) in keys.iter().enumerate() {
        item = match (item, key) {
            (Value::List(l), Value::Int(i)) => usize::try_from(*i)
                .ok()
                .and_then(|i| l.get(i))
                .ok_or_else(|| Fault::Message(format!("no element {i} in a list of {}", l.len())))?,
            (Value::Map(m), Value::Str(k)) => {
                m.get(k).ok_or_else(|| Fault::Message(format!("no key `{k}` in the map")))?
            }
            (Value::Str(s), Value::Int(i)) => {
                let byte = usize::try_from(*i).ok().and_then(|i| s.as_bytes().get(i));
                let byte =
                    byte.ok_or_else(|| Fault::Message(format!("no byte {i} in a string of {}", s.len())))?;
                return match keys.get(n + 1) {
                    None => Ok(Value::Int(i64::from(*byte))),
                    Some(_) => Err("int has no elements".into()),
                };
            }
            (item @ (Value::List(_) | Value::Map(_) | Value::Str(_)), key) => {
                return Err(Fault::Message(format!("cannot index a {} with {}", item.kind(), key.kind())));
            }
            (item, _) => return Err(Fault::Message(format!("{} has no elements", item.kind()))),
        };
    }
    Ok(item.clone())
}

/// `slice x 1 2` is `x[1:2]`.
pub(crate) fn slice(args: &[Value]) -> Answer {
    let Some((item, bounds)) = args.split_first() else { return Err("takes at least 1 argument".into()) };
    let len = match (item, bounds.len()) {
        (Value::Str(_), 3) => return Err("a string takes at most two bounds".into()),
        (_, 4..) => return Err("takes at most three bounds".into()),
        (Value::Str(s), _) => s.len(),
        (Value::List(l), _) => l.len(),
        (v, _) => return Err(Fault::Message(format!("cannot slice {}", v.kind()))),
    };
    let mut at = [0, len, len];
    for (slot, bound) in at.iter_mut().zip(bounds) {
        let bound = int(bound)?;
        *slot = usize::try_from(bound)
            .ok()
            .filter(|b| *b <= len)
            .ok_or_else(|| Fault::Message(format!("bound {bound} is out of range")))?;
    }
    let [from, to, most] = at;
    if from > to || to > most {
        return Err(Fault::Message(format!("bounds out of order: {from}, {to}")));
    }
    match item {
        Value::List(l) => Ok(Value::List(l.get(from..to).unwrap_or_default().to_vec())),
        // Go would cut the character and give bytes that are no text.
        v => match string(v)?.get(from..to) {
            Some(s) => Ok(Value::str(s)),
            None => Err("the bounds cut a character".into()),
        },
    }
}

/// Sprig's: null elements are left out, others printed; what is no list is its own only element.
pub(crate) fn join(args: &[Value], limit: usize) -> Answer {
    let [separator, list] = exactly(args)?;
    let separator = string(separator)?;
    let items = match list {
        Value::List(l) => l.as_slice(),
        v => std::slice::from_ref(v),
    };
    let mut parts = Vec::with_capacity(items.len());
    for item in items.iter().filter(|v| **v != Value::Null) {
        parts.push(plain(item)?);
    }
    let separators = parts.len().saturating_sub(1).checked_mul(separator.len());
    let texts: usize = parts.iter().map(|p| p.len()).sum();
    within(separators.and_then(|s| s.checked_add(texts)), limit)?;
    Ok(Value::from(parts.join(separator)))
}

/// An empty separator gives the characters.
pub(crate) fn split(args: &[Value]) -> Answer {
    let [separator, text] = exactly(args)?;
    let (separator, text) = (string(separator)?, string(text)?);
    Ok(Value::List(if separator.is_empty() {
        text.chars().map(|c| Value::from(c.to_string())).collect()
    } else {
        text.split(separator).map(Value::from).collect()
    }))
}
