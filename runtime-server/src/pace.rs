//! How busy the server is, and what it tells agents to do about it.
//!
//! A busy server is late: what should run now runs after everything that waits before it. A task that sleeps for a
//! while and looks how much later it woke measures exactly what a request would have waited. While that is too much,
//! the server asks agents to come less often, and to spread more.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long one look takes.
const LOOK: Duration = Duration::from_millis(250);
/// Later than this on average is too late: a request waits for as long on its way in and on its way out.
const LATE: Duration = Duration::from_millis(40);
/// The longest interval that is asked for, in percent of the configured one.
const MOST: u32 = 400;
/// Jitter that is asked for at least while agents are asked to come less often, in percent.
const SPREAD: u32 = 50;

/// See the module.
#[derive(Debug)]
pub struct Pace {
    percent: AtomicU32,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { percent: AtomicU32::new(100) }
    }
}

impl Pace {
    /// The interval in milliseconds and the jitter in percent to ask for, from those that are configured.
    pub fn asked(&self, interval: Duration, jitter: u32) -> (u32, u32) {
        let percent = self.percent();
        let stretched = interval.as_millis().saturating_mul(percent.into()) / 100;
        let jitter = if percent > 100 { jitter.max(SPREAD) } else { jitter };
        (u32::try_from(stretched).unwrap_or(u32::MAX), jitter)
    }

    /// Whether nobody is asked to come less often.
    pub fn is_calm(&self) -> bool {
        self.percent() == 100
    }

    /// The interval that is asked for, in percent of the configured one.
    pub fn percent(&self) -> u32 {
        self.percent.load(Ordering::Relaxed)
    }

    /// Looks for a while, four times a second at most, until dropped.
    pub async fn watch(&self) {
        // What the timer itself rounds to is not lateness.
        const TICK: Duration = Duration::from_millis(25);
        loop {
            let begin = Instant::now();
            let (mut late, mut looks) = (Duration::ZERO, 0);
            while begin.elapsed() < LOOK {
                let due = Instant::now() + TICK;
                tokio::time::sleep_until(due).await;
                late += due.elapsed();
                looks += 1;
            }
            self.take(late / looks.max(1));
        }
    }

    /// Quickly up, slowly down: whoever was sent away comes back all at once otherwise.
    fn take(&self, late: Duration) {
        let before = self.percent();
        let now = if late > LATE { (before + before / 8).min(MOST) } else { (before - before / 50).max(100) };
        self.percent.store(now, Ordering::Relaxed);
        if before == 100 && now > 100 {
            tracing::warn!(late_ms = late.as_millis(), "busy: agents are asked to come less often");
        } else if before > 100 && now == 100 {
            tracing::info!("no longer busy");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_server_asks_for_less_and_returns_slowly() {
        let (pace, interval) = (Pace::default(), Duration::from_secs(300));
        assert_eq!(pace.asked(interval, 20), (300_000, 20));
        pace.take(LATE + Duration::from_millis(1));
        let (stretched, jitter) = pace.asked(interval, 20);
        assert!(stretched > 300_000 && jitter == SPREAD);
        for _ in 0..100 {
            pace.take(Duration::from_secs(1));
        }
        assert_eq!(pace.asked(interval, 60), (1_200_000, 60));
        pace.take(Duration::ZERO);
        assert!(pace.percent() > 350);
        for _ in 0..200 {
            pace.take(LATE);
        }
        assert_eq!(pace.asked(interval, 20), (300_000, 20));
        assert_eq!(pace.asked(Duration::MAX, 20).0, u32::MAX);
    }
}
