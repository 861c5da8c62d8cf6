//! From typed modules to the IR of a variant.

pub mod edges;
pub mod evaluate;
pub mod instances;
pub mod link;
pub mod order;
pub mod outline;
pub mod shape;
pub mod typed;

pub use instances::{Specialised, specialised};
pub use link::{Assembled, Linked, assembled, linked};
pub use typed::{EdgeKind, TypesKey};
