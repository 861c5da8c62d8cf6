//! The layers that may set a variable, outermost first: a later one wins.

use grammar::Span;
use std::fmt;
use std::sync::Arc;

/// What kind of place a layer is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// `vars:` or `params:` of a module.
    Module(Arc<str>),
    /// A role.
    Role(Arc<str>),
    /// A `common.vgo`.
    Common,
    /// The node entry.
    Entry,
    /// An `environments.vgo`.
    Environment(Arc<str>),
    /// `environment_overrides` of the entry.
    Override(Arc<str>),
    /// `conditional_vars` of the entry, by number.
    Conditional(usize),
    /// `vars:` of a policy test.
    Test,
}

impl Origin {
    /// The module, when the layer is its defaults.
    pub fn module(&self) -> Option<&Arc<str>> {
        match self {
            Origin::Module(module) => Some(module),
            _ => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Module(m) => write!(f, "default of module {m}"),
            Origin::Role(r) => write!(f, "role {r}"),
            Origin::Common => f.write_str("common.vgo"),
            Origin::Entry => f.write_str("node entry"),
            Origin::Environment(e) => write!(f, "environment {e}"),
            Origin::Override(e) => write!(f, "environment_overrides {e}"),
            Origin::Conditional(n) => write!(f, "conditional_vars {}", n + 1),
            Origin::Test => f.write_str("policy test"),
        }
    }
}

/// One step in the making of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The layer.
    pub origin: Origin,
    /// Its file.
    pub file: Arc<str>,
    /// Where the variable stands there. `None` for a module's default: asking for it would make everything depend
    /// on the positions in every module.
    pub span: Option<Span>,
    /// What the layer says; `Value::Null` un-sets.
    pub value: Arc<ir::Value>,
    /// Whether the layer counts.
    pub state: StepState,
}

/// Whether a layer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// It does.
    Applied,
    /// Its condition is false.
    Skipped,
    /// Its condition is not known yet.
    Undecided,
}
