//! From a host name to its class: entry, environment, roles, modules, variables.

pub mod class;
pub mod coverage;
pub mod defaults;
pub mod glob;
pub mod index;
pub mod interface;
pub mod layers;
pub mod matching;
mod merge;
pub mod modules;
pub mod names;
pub mod vars;

pub use class::{Class, ResolvedClass, resolved_class};
pub use index::Index;
pub use interface::{Interface, Reads};
pub use layers::{Origin, Step, StepState};
pub use vars::{TraitFacts, Variable, Variables, class_vars};
