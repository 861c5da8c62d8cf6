//! Digests and encodings of bytes.

use super::{Answer, Fault, exactly};
use crate::hash::Hash;
use crate::value::Value;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(crate) fn sha256(args: &[Value]) -> Answer {
    let [v] = exactly(args)?;
    Ok(Value::from(Hash::of(bytes(v)?).to_string()))
}

pub(crate) fn base64(args: &[Value]) -> Answer {
    let [v] = exactly(args)?;
    Ok(Value::from(STANDARD.encode(bytes(v)?)))
}

fn bytes(value: &Value) -> Result<&[u8], Fault> {
    match value {
        Value::Str(s) => Ok(s.as_bytes()),
        Value::Bytes(b) => Ok(b),
        v => Err(Fault::Message(format!("expected a string, found {}", v.kind()))),
    }
}
