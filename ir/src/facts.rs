//! What an evaluation may ask of the world around it.

use crate::builtin::Builtin;
use crate::expr::Root;
use crate::value::Value;
use std::sync::Arc;

/// The answer to one question.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// The value.
    Known(Value),
    /// It is certain that there is none.
    Absent,
    /// A later stage will know.
    NotYet,
}

/// One stage's knowledge. Answers must be stable within one evaluation.
pub trait Facts {
    /// The value at a path. Asked with the whole path; an implementation that holds a map at a prefix
    /// answers `Absent` when the rest is missing in it.
    fn path(&self, root: Root, segments: &[Arc<str>]) -> Fact;

    /// The text of a secret; `NotYet` everywhere but on the agent.
    fn secret(&self, path: &str) -> Fact;

    /// A function that looks at the host, the clock or the run (`file_exists`, `hour_range`,
    /// `changed`), or at the envoy (`env_is`, `has_role`, `has_module`). Pure functions are never
    /// asked for.
    fn ask(&self, function: Builtin, args: &[Value]) -> Fact;
}
