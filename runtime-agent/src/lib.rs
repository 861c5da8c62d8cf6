//! The agent: collects traits, verifies and caches the bundle it is given,
//! converges the host to it and reports.
//!
//! A newcomer reads in this order: [`agent`] (what happens in a run, as steps),
//! [`verify`] (what makes a bundle trusted), [`store`] (what survives a crash),
//! [`converge`] (modules and resources in order), [`resource`] (one file a type),
//! [`root`] (the only way to a managed file), [`cli`].
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")
)]

pub mod accounts;
pub mod agent;
pub mod apply;
pub mod checkin;
pub mod checks;
pub mod cli;
pub mod clock;
pub mod command;
pub mod converge;
pub mod daemon;
pub mod doctor;
pub mod enrol;
pub mod explain;
pub mod facts;
pub mod identity;
pub mod limit;
mod log;
pub mod observe;
pub mod openpgp;
mod outside;
pub mod own;
pub mod pause;
pub mod platform;
pub mod renew;
pub mod report;
pub mod resource;
pub mod root;
pub mod server;
pub mod settings;
pub mod speaker;
pub mod state;
pub mod status;
pub mod store;
pub mod stream;
pub mod task;
pub mod text;
pub mod traits;
pub mod verification;
pub mod verify;

pub use agent::{Agent, AgentError, AgentOptions};
pub use clock::{Clock, SystemClock};
pub use converge::RunOptions;
pub use observe::{Outcome, ResourceReport, RunObserver, RunSummary, Totals};
