//! How much of the server one connection, one envoy and all of them together may take.

use std::time::Duration;

/// What is allowed; the defaults are what `vigosrv` runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte to the end of the handshake.
    pub handshake: Duration,
    /// From the end of the handshake to a whole first request: who dials has something to say.
    pub first_request: Duration,
    /// From one request to the next on an open connection.
    pub idle: Duration,
    /// From the head of a request to that of its answer; reading the answer may take as long again.
    pub request: Duration,
    /// Requests at the same time on one connection.
    pub streams: u32,
    /// The same on a connection without a certificate.
    pub streams_of_stranger: u32,
    /// Bytes of the headers of a request.
    pub header_bytes: u32,
    /// Requests that were reset before they were looked at; one more and the connection is closed.
    pub pending_resets: usize,
    /// Connections of one envoy; one more and the oldest is closed.
    pub per_envoy: usize,
    /// Connections without a certificate: hosts that enrol.
    pub strangers: usize,
    /// Connections in all, those in a handshake included. `None`: as many as file descriptors allow.
    pub connections: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(10),
            // Three times the interval of an agent with the default settings: they stay, dead peers go.
            idle: Duration::from_secs(900),
            request: Duration::from_secs(30),
            streams: 100,
            streams_of_stranger: 4,
            header_bytes: 16 << 10,
            pending_resets: 50,
            per_envoy: 4,
            strangers: 256,
            connections: None,
        }
    }
}

/// File descriptors that are kept for the database, the policy and the HTTP API.
const RESERVED: u64 = 512;

/// Connections of people and programs at the same time.
const HTTPS_CONNECTIONS: usize = 2048;

impl Limits {
    /// The same for people and programs, none of whom shows a certificate. Browsers keep a connection for the next
    /// page, so they are strangers with patience, but less of it than agents get.
    pub fn of_https(&self) -> Limits {
        Limits {
            idle: self.idle.min(Duration::from_secs(60)),
            strangers: HTTPS_CONNECTIONS,
            streams_of_stranger: 16,
            connections: Some(HTTPS_CONNECTIONS),
            ..self.clone()
        }
    }
}

/// Lifts the process's limit on file descriptors as far as the system lets it, and says for how many connections that is
/// enough.
pub fn lift_file_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, hard)| {
        match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(_) => soft,
        }
    });
    let files = allowed.unwrap_or(1024);
    usize::try_from(files.saturating_sub(RESERVED).max(files / 2)).unwrap_or(usize::MAX)
}
