//! From a policy directory to IR, incrementally.
//!
//! The stages, in the order in which a policy goes through them: [`tree`] reads files, [`syntax`] says what
//! each declares, [`resolve`] finds roles, modules and variables of a class, [`expr`] types conditions and
//! templates, [`specialise`] makes the modules of a variant, [`checks`] collects what is wrong, [`suppress`] leaves out
//! what comments allow, [`plan`] compares two policies for a fleet. [`policy`] is the door.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")
)]

pub mod checks;
pub mod commands;
pub mod concern;
pub mod db;
pub mod diagnostic;
mod edits;
pub mod expr;
pub mod facts;
pub mod fix;
mod kept;
pub mod plan;
pub mod policy;
pub mod reference;
pub mod resolve;
pub mod rules;
pub mod schema;
pub mod secrets;
pub mod specialise;
pub mod suppress;
pub mod syntax;
pub mod test_uses;
pub mod tree;
pub mod types;
pub mod uses;
pub mod values;
pub mod variant;
pub mod watch;
