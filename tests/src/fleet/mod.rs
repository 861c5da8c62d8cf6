//! Virtual fleets: many envoys in one process that speak to a real server with real TLS, real signatures and the
//! agent's own verification.
//!
//! [`population`] registers them, [`envoy`] is one of them, [`connection`] its way to the server, [`load`] sends
//! requests at a rate and measures, [`process`] asks the system what the server cost, [`scenario`] puts it together.

pub mod connection;
pub mod envoy;
pub mod load;
pub mod population;
pub mod process;
pub mod scenario;
