//! Text of a `.vgo` file to spanned syntax trees.
//!
//! Three independent languages live here, each with its own lexer, grammar and tree:
//! [`document`] (the YAML subset that gives a file its structure), [`when`] (conditions) and [`template`]
//! (`{{ }}` text). Parsing never fails: every parser returns a tree *and* the errors, and leaves an error node where
//! something could not be understood. The crate knows nothing of files, rendering or meaning.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests"))]

#[macro_use]
mod generated;

pub mod document;
pub mod error;
pub mod format;
pub mod span;
pub mod template;
pub mod when;

pub use error::{Fix, SLUGS, SyntaxError};
pub use span::Span;
