//! Modules and resources, specialised for one variant.

use crate::expr::Expr;
use std::sync::Arc;

/// A module: the unit that is hashed, shipped and cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Unique within a bundle.
    pub name: Arc<str>,
    /// Modules that run before this one.
    pub depends_on: Vec<Arc<str>>,
    /// In the order they run.
    pub resources: Vec<Resource>,
}

/// One piece of desired state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Unique within the module.
    pub name: Arc<str>,
    /// A resource type of `stdlib/types`.
    pub kind: Arc<str>,
    /// Of type bool; `None` is always. Holds the module's own condition too, where that was not
    /// decided.
    pub when: Option<Expr>,
    /// Sorted by name; the defaults of the type are filled in, so an executor has none of its own.
    pub attributes: Vec<(Arc<str>, Expr)>,
    /// Resources that come first and must not have failed.
    pub depends_on: Vec<Target>,
    /// Resources that are told when this one changed.
    pub notify: Vec<Target>,
}

/// The far end of an edge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Index into the same module's `resources`.
    Local(u32),
    /// A resource of another module.
    Other {
        /// Its module.
        module: Arc<str>,
        /// Its name there.
        resource: Arc<str>,
    },
}

impl Resource {
    /// The expression of one attribute.
    pub fn attribute(&self, name: &str) -> Option<&Expr> {
        self.attributes.iter().find(|(n, _)| &**n == name).map(|(_, e)| e)
    }
}
