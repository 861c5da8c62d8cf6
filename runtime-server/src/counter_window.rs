//! Which counters of requests were used.

/// Counters that were used: the highest and the 64 below it. Requests of one agent may overtake each
/// other, but none is taken twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    highest: u64,
    below: u64,
}

impl Window {
    /// After a restart: nothing up to `highest` is taken again.
    pub fn after(highest: u64) -> Self {
        Window { highest, below: u64::MAX }
    }

    /// The highest counter that was used.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether a counter is new; then it is used from now on. 0 never is.
    pub fn take(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            let shift = counter - self.highest;
            // The old highest becomes a bit below the new one.
            self.below = match shift {
                1..=63 => (self.below << shift) | (1 << (shift - 1)),
                64 => 1 << 63,
                _ => 0,
            };
            self.highest = counter;
            return true;
        }
        let distance = self.highest - counter;
        if distance == 0 || distance > 64 || counter == 0 {
            return false;
        }
        let bit = 1 << (distance - 1);
        let new = self.below & bit == 0;
        self.below |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn case_036_a_counter_is_taken_once() {
        let mut window = Window::default();
        assert!(!window.take(0));
        for counter in [1, 2, 5, 4, 3, 70, 69, 7, 6, 1000, 936, 10_000_000, u64::MAX] {
            assert!(window.take(counter), "{counter}");
            assert!(!window.take(counter), "{counter} again");
        }
        assert!(!window.take(5), "too old to know");
    }

    #[test]
    fn the_window_agrees_with_a_set() {
        let (mut window, mut used, mut highest) = (Window::default(), HashSet::new(), 0u64);
        let mut random = 1u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let counter = (highest + (random >> 33) % 100).saturating_sub(60);
            let known = counter > highest || highest - counter <= 64;
            let expected = counter != 0 && known && !used.contains(&counter);
            assert_eq!(window.take(counter), expected, "{counter} after {highest}");
            used.insert(counter);
            highest = highest.max(counter);
        }
    }

    #[test]
    fn after_a_restart_nothing_old_is_taken() {
        let mut window = Window::after(500);
        for counter in 430..=500 {
            assert!(!window.take(counter));
        }
        assert!(window.take(502) && window.take(501));
    }
}
