//! From typed modules to the IR of a variant.

pub mod edges;
pub mod instances;
pub mod link;
pub mod order;
pub mod typed;

pub use instances::{Specialised, specialised};
pub use link::{Linked, linked};
pub use typed::{EdgeKind, TypesKey};
