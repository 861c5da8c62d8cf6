//! What the tests share: golden cases in Markdown, compiled modules as text, generated policies, real processes,
//! virtual fleets.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")
)]

pub mod fleet;
pub mod generator;
pub mod golden;
pub mod processes;
pub mod show;
