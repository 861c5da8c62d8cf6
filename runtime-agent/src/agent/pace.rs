//! How long to wait: between turns, and after failures.

use std::time::Duration;

/// Full jitter: anything up to twice as long after each failure, from one second to five minutes.
pub fn back_off(failures: u32) -> Duration {
    let cap = 1000u64.checked_shl(failures.min(20)).unwrap_or(u64::MAX).clamp(1000, 300_000);
    Duration::from_millis(1000.max(random_below(cap + 1)))
}

/// An interval with its jitter, in percent to both sides.
pub fn jittered(interval: Duration, percent: u32) -> Duration {
    let ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    let width = ms / 100 * u64::from(percent.min(100));
    Duration::from_millis((ms - width).saturating_add(random_below(width.saturating_mul(2) + 1)).max(100))
}

fn random_below(limit: u64) -> u64 {
    let mut bytes = [0; 8];
    // Without random bytes all agents of a fleet come at the same time; that is bad, not wrong.
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes) % limit.max(1)
}
