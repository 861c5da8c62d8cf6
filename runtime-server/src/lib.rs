//! The server: publishes a policy, signs it, serves it to agents and stores what they report.
//!
//! Where to start reading: [`config`] is what it is told, [`server`] puts the parts together, [`connection`] takes
//! connections and [`service`] requests, [`authorise`] decides who may, [`check_in`] decides what an envoy gets, [`publish`]
//! makes a policy into a release.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")
)]

pub mod assign;
pub mod authorise;
pub mod catalog;
pub mod certified;
pub mod check_in;
pub mod cli;
pub mod client;
pub mod clock;
pub mod compiled;
pub mod config;
pub mod connection;
pub mod context;
pub mod counter_window;
pub mod dev;
pub mod difference;
pub mod dispatch;
pub mod enrol;
pub mod events;
pub mod files;
pub mod fleet;
pub mod grpc;
pub mod hostname;
pub mod http;
pub mod identity;
pub mod init;
pub mod limits;
pub mod live_key;
pub mod metrics;
pub mod outgoing;
pub mod pace;
pub mod pki;
pub mod policy;
pub mod publish;
pub mod reach;
pub mod reject;
pub mod renew;
pub mod report;
pub mod retention;
pub mod secrets;
pub mod server;
pub mod service;
pub mod status;
pub mod store;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
pub mod tls;
pub mod trait_changes;
pub mod tree;
pub mod watch;
