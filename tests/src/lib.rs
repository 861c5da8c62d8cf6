//! What the tests share: golden cases in Markdown, compiled modules as text, generated policies, real processes,
//! virtual fleets.

pub mod fleet;
pub mod generator;
pub mod golden;
pub mod processes;
pub mod show;
