//! Time, behind a trait: tests and time floors decide what "now" is.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC.
pub type Millis = u64;

/// What the agent asks about time.
pub trait Clock: Send + Sync {
    /// The wall clock; a host may have set it to anything.
    fn now(&self) -> Millis;
}

/// The host's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that shows what it was told.
#[derive(Debug, Default)]
pub struct FixedClock(std::sync::atomic::AtomicU64);

impl FixedClock {
    /// A clock that shows `now`.
    pub fn at(now: Millis) -> Self {
        FixedClock(now.into())
    }

    /// Shows another time from here on.
    pub fn set(&self, now: Millis) {
        self.0.store(now, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Millis {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}
