//! Time, behind a trait: tests and time floors decide what "now" is.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC.
pub type Millis = u64;

/// What the agent asks about time.
pub trait Clock: Send + Sync {
    /// The wall clock; a host may have set it to anything.
    fn now(&self) -> Millis;

    /// Since the machine started, sleep included. It goes on at its pace whatever the wall clock is set to.
    fn uptime(&self) -> Millis;
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

    fn uptime(&self) -> Millis {
        // Seconds with two decimals, and something else.
        let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let (seconds, rest) = text.split_once('.').unwrap_or_default();
        let hundredths = rest.get(..2).and_then(|digits| digits.parse().ok()).unwrap_or(0u64);
        seconds.parse().map_or(0, |seconds: u64| seconds.saturating_mul(1000) + hundredths * 10)
    }
}

/// A clock that shows what it was told.
#[derive(Debug, Default)]
pub struct FixedClock {
    now: std::sync::atomic::AtomicU64,
    uptime: std::sync::atomic::AtomicU64,
}

impl FixedClock {
    /// A clock that shows `now`.
    pub fn at(now: Millis) -> Self {
        FixedClock { now: now.into(), uptime: 0.into() }
    }

    /// The machine has been running for that long, whatever is shown.
    pub fn run_for(&self, uptime: Millis) {
        self.uptime.store(uptime, std::sync::atomic::Ordering::Relaxed);
    }

    /// Shows another time from here on.
    pub fn set(&self, now: Millis) {
        self.now.store(now, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Millis {
        self.now.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn uptime(&self) -> Millis {
        self.uptime.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_runs_on() {
        let before = SystemClock.uptime();
        assert!(before > 0);
        let since = std::time::Instant::now();
        while SystemClock.uptime() <= before {
            assert!(since.elapsed().as_secs() < 20, "it stands still");
        }
    }
}
