//! Values as `main.go` and `templates.go` write them.

use ir::{Finite, Value};
use serde_json::Value as Json;
use std::sync::Arc;

/// The inverse of `typed` in `main.go`.
pub fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::String(s) => Value::from(s.as_str()),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(o) => {
            if let Some(i) = o.get("int") {
                return Value::Int(i.as_str().unwrap().parse().unwrap());
            }
            if let Some(f) = o.get("float") {
                let bits = u64::from_str_radix(f.as_str().unwrap(), 16).unwrap();
                return Value::Float(Finite::new(f64::from_bits(bits)).unwrap());
            }
            let map = o["map"].as_object().unwrap();
            Value::Map(map.iter().map(|(k, v)| (Arc::from(k.as_str()), value(v))).collect())
        }
        Json::Number(_) => panic!("a number without a type"),
    }
}
