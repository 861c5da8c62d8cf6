//! `toYaml`.

use super::Answer;
use crate::value::Value;

pub(crate) fn to_yaml(_args: &[Value]) -> Answer {
    Err("not there".into())
}

#[allow(dead_code, reason = "wip")]
fn unused(_: Value) {}
