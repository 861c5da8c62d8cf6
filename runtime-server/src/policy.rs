//! What the server needs of a compiler.
//!
//! [`Policy`] has the shape of the compiler's own; tests put an in-memory one in its place.

use ir::{Hash, Value};
use std::sync::Arc;

/// Names a node entry in an environment. Opaque: only the policy it came from can read it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassKey(pub Arc<str>);

/// What every envoy of a class with the same footprint values gets.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Its class.
    pub class: ClassKey,
    /// Paths of the traits that were read to make it ("os.family"), sorted.
    pub footprint: Vec<String>,
    /// The environment.
    pub environment: Option<String>,
    /// The closure of the roles.
    pub roles: Vec<String>,
    /// Sorted by name.
    pub modules: Vec<VariantModule>,
    /// Indices into `modules` in the order they run.
    pub run_order: Vec<u32>,
    /// Hash of the merged variables.
    pub vars_hash: Hash,
    /// Root over variables and modules.
    pub merkle_root: Hash,
    /// Paths of the secrets that the modules read.
    pub secrets: Vec<String>,
    /// What an agent must know.
    pub required_features: Vec<String>,
}

/// One module of a variant.
#[derive(Clone, Debug)]
pub struct VariantModule {
    /// Its name.
    pub name: Arc<str>,
    /// SHA-256 of its bytes.
    pub hash: Hash,
    /// What is shipped.
    pub bytes: Arc<[u8]>,
}

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
