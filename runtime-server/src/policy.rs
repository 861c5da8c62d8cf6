//! What the server needs of a compiler.
//!
//! [`Policy`] is the compiler's, or in tests one in memory.

pub use compiler::policy::{ClassKey, Variant, VariantModule};
use ir::{Hash, Value};
use std::sync::Arc;

/// What checking a policy found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Anything above zero keeps a policy from being served.
    pub errors: usize,
    /// Worth a look.
    pub warnings: usize,
    /// Sizes, for people.
    pub files: usize,
    /// Modules.
    pub modules: usize,
    /// Node entries in environments.
    pub classes: usize,
    /// The diagnostics with the lines they stand in.
    pub rendered: String,
}

/// Why a policy cannot be read or compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub String);

/// A policy in memory. Owned by one thread at a time.
pub trait Policy: Send {
    /// Reads what changed on disk; the changed files.
    fn refresh(&mut self) -> Result<Vec<String>, PolicyError>;
    /// Identifies the content: the same digest means the same release.
    fn digest(&self) -> Hash;
    /// Everything that can be known without a host.
    fn check(&self) -> Checked;
    /// The class of a (lower-case) host name; `None` when no node entry matches.
    fn class_of(&self, hostname: &str) -> Option<ClassKey>;
    /// What hosts of a class with such traits get.
    fn variant(&self, class: &ClassKey, traits: &Value) -> Result<Arc<Variant>, PolicyError>;
}

/// Where policies come from.
pub trait PolicySource: Send + Sync {
    /// Reads the policy from scratch.
    fn open(&self) -> Result<Box<dyn Policy>, PolicyError>;
}
