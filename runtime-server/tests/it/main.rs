//! A real server on 127.0.0.1 with real TLS, and a client driven by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

mod access;
mod check_in;
mod client;
mod command;
mod dispatch;
mod enrolment;
mod events;
mod harness;
mod http;
mod key;
mod limits;
mod pages;
mod publish;
mod renewal;
mod replicas;
mod report;
mod request;
mod streams;
mod tasks;
