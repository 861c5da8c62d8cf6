//! From typed modules to the IR of a variant.

pub mod assemble;
pub mod edges;
pub mod evaluate;
pub mod instances;
pub mod link;
pub mod order;
pub mod outline;
pub mod parts;
pub mod shape;
pub mod typed;

pub use assemble::{Assembled, assembled};
pub use instances::{Specialised, specialised};
pub use link::{Linked, linked};
pub use typed::{EdgeKind, TypesKey};
