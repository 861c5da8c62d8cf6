//! How a layer changes what the layers below it made of a variable.

use super::layers::StepState;
use super::vars::VarValue;
use ir::Value;
use std::sync::Arc;

/// Lays a value over what is known.
pub(super) fn apply(known: &mut VarValue, value: &Arc<Value>, state: StepState) {
    match state {
        StepState::Skipped => {}
        StepState::Undecided => *known = VarValue::Undecided,
        StepState::Applied => match (known, &**value) {
            (known, Value::Null) => *known = VarValue::Unset,
            (VarValue::Set(base), Value::Map(_)) => merge_value(Arc::make_mut(base), Value::clone(value)),
            // a map laid over an undecided one stays undecided
            (VarValue::Undecided, Value::Map(_)) => {}
            (known, Value::Map(_)) => *known = VarValue::Set(Arc::new(without_nulls(Value::clone(value)))),
            (known, _) => *known = VarValue::Set(value.clone()),
        },
    }
}

/// The part of a variable that two defaults disagree about and that no layer above decides.
pub(super) fn ambiguity(path: &str, a: &Value, b: &Value, above: &[&Value]) -> Option<String> {
    if a == b {
        return None;
    }
    let replaced = |v: &&&Value| !matches!(**v, Value::Map(_));
    if above.iter().any(|v| replaced(&v)) {
        return None;
    }
    match (a, b) {
        (Value::Map(a), Value::Map(b)) if !above.is_empty() => a.iter().find_map(|(key, value)| {
            let above: Vec<&Value> = above.iter().filter_map(|v| v.at(std::slice::from_ref(key))).collect();
            ambiguity(&format!("{path}.{key}"), value, b.get(key)?, &above)
        }),
        _ => Some(path.to_owned()),
    }
}

/// Maps merge key by key, null removes a key, everything else replaces.
fn merge_value(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Map(base), Value::Map(over)) => {
            for (key, value) in over {
                match (value, base.get_mut(&key)) {
                    (Value::Null, _) => drop(base.remove(&key)),
                    (value, Some(known)) => merge_value(known, value),
                    (value, None) => drop(base.insert(key, without_nulls(value))),
                }
            }
        }
        (base, over) => *base = without_nulls(over),
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Map(map) => Value::Map(
            map.into_iter().filter(|(_, v)| *v != Value::Null).map(|(k, v)| (k, without_nulls(v))).collect(),
        ),
        other => other,
    }
}
