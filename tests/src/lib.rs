//! What the tests share: generated policies, real processes.

pub mod generator;
pub mod processes;
