//! What the tests share: golden cases in Markdown, compiled modules as text, generated policies.

pub mod generator;
pub mod golden;
pub mod show;
