//! How long one resource may take in all, whatever its type does.
//!
//! The engine begins the time for the thread that works on a resource. Whatever waits there (for a program, a server, a lock)
//! asks here how long it still may, so no type has to know of the limit and none can forget it. What waits for nothing is
//! not interrupted, nor is a call of the kernel that does not come back, such as one to a file server that is gone.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// What a resource may take where the settings of the host say nothing else; its own `timeout` comes on top.
pub const DEFAULT: Duration = Duration::from_secs(3600);

thread_local! {
    static END: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Puts back what was, however the work ends.
struct Before(Option<Instant>);

impl Drop for Before {
    fn drop(&mut self) {
        END.set(self.0);
    }
}

/// Does something that may take this long.
pub fn within<T>(limit: Duration, work: impl FnOnce() -> T) -> T {
    let _before = Before(END.replace(Instant::now().checked_add(limit)));
    work()
}

/// This long, or as long as is left.
pub fn at_most(time: Duration) -> Duration {
    END.get().map_or(time, |end| time.min(end.saturating_duration_since(Instant::now())))
}

/// Whether the time is over.
pub fn is_over() -> bool {
    END.get().is_some_and(|end| Instant::now() >= end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_for_the_work_and_for_nothing_after_it() {
        const LONG: Duration = Duration::from_secs(1000);
        assert!(!is_over() && at_most(LONG) == LONG);
        within(Duration::from_secs(10), || {
            assert!(!is_over() && at_most(LONG) <= Duration::from_secs(10));
            assert_eq!(at_most(Duration::from_millis(1)), Duration::from_millis(1));
            let failed = std::panic::catch_unwind(|| within(Duration::ZERO, || assert!(!is_over())));
            assert!(failed.is_err() && !is_over(), "the time around it goes on");
        });
        assert!(!is_over() && at_most(LONG) == LONG);
        assert!(within(Duration::ZERO, || is_over() && at_most(LONG).is_zero()));
    }
}
