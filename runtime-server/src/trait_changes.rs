//! How often an envoy may change the traits that it shares with others.
//!
//! Each new set of shared traits is one more variant to compile and to keep, so whoever changes them with every
//! check-in, on purpose or by a broken collector, would make the server compile all day. Changes are paid for from a
//! small store of permits that fills up again over an hour; the first traits of an envoy are free.

use std::time::{Duration, Instant};

/// Changes that may come at once, and within an hour on average.
pub const MOST: u32 = 10;
/// In which a used permit comes back.
const EACH: Duration = Duration::from_secs(3600 / MOST as u64);

/// What one envoy has used up. Starts with all permits.
#[derive(Clone, Copy, Debug, Default)]
pub struct TraitChanges {
    /// When all permits are there again; `None` when they always were.
    full_at: Option<Instant>,
}

impl TraitChanges {
    /// Whether one more change is allowed now; then it is paid for.
    pub fn allow(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + EACH;
        let allowed = full_at <= now + EACH * MOST;
        if allowed {
            self.full_at = Some(full_at);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_at_once_and_then_one_every_six_minutes() {
        let (mut changes, start) = (TraitChanges::default(), Instant::now());
        let mut at = |seconds: u64, times: usize| -> usize {
            (0..times).filter(|_| changes.allow(start + Duration::from_secs(seconds))).count()
        };
        assert_eq!(at(0, 30), 10);
        assert_eq!(at(359, 30), 0, "what is refused costs nothing");
        assert_eq!(at(360, 30), 1);
        assert_eq!(at(360 + 1080, 30), 3);
        assert_eq!(at(90_000, 30), 10, "no more of them are saved up");
    }
}
