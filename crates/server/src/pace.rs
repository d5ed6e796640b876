//! The clock that merges keep to.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use dvse_engine::Pacer;

/// How long a writer that is held back sleeps before it asks again whether to hurry.
const NAP: Duration = Duration::from_millis(10);

/// At most so many bytes a second, all writers together. What was not written earlier is not made up for: after a rest
/// the first write goes at once and the next ones wait their turn.
#[derive(Debug)]
pub struct BytesPerSecond {
    rate: NonZeroU64,
    /// When the next write may begin.
    due: Mutex<Instant>,
}

impl BytesPerSecond {
    /// Begins with a write that may go at once.
    #[must_use]
    pub fn new(rate: NonZeroU64) -> BytesPerSecond {
        BytesPerSecond { rate, due: Mutex::new(Instant::now()) }
    }

    /// Takes the turn of so many bytes at this time, and returns when it is.
    fn turn(&self, bytes: u64, now: Instant) -> Instant {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*due).max(now);
        // A write is a few MiB, so the product stays far below 2^64.
        *due = turn + Duration::from_micros(bytes.saturating_mul(1_000_000) / self.rate);
        turn
    }

    /// Gives back the time of turns that were not waited for, so that those who hurried now do not hold up those who
    /// come later.
    fn forgive(&self, now: Instant) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        *due = (*due).min(now);
    }
}

impl Pacer for BytesPerSecond {
    fn pace(&self, bytes: u64, hurried: &dyn Fn() -> bool) {
        let turn = self.turn(bytes, Instant::now());
        loop {
            let wait = turn.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return;
            }
            if hurried() {
                self.forgive(Instant::now());
                return;
            }
            thread::sleep(wait.min(NAP));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_each_other_at_the_rate_and_a_rest_is_not_made_up_for() {
        let pace = BytesPerSecond::new(NonZeroU64::new(1_000).unwrap());
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(pace.turn(500, start), start);
        assert_eq!(pace.turn(2_000, start), after(500));
        assert_eq!(pace.turn(100, after(1_000)), after(2_500));
        assert_eq!(pace.turn(100, after(60_000)), after(60_000), "nothing was due");
        assert_eq!(pace.turn(100, after(60_000)), after(60_100), "and nothing was saved up");
    }

    #[test]
    fn who_hurries_does_not_wait_and_leaves_no_debt() {
        let pace = BytesPerSecond::new(NonZeroU64::MIN);
        // A century each, at a byte a second.
        pace.pace(3 << 30, &|| true);
        pace.pace(3 << 30, &|| true);
        let now = Instant::now();
        assert!(pace.turn(0, now) <= now, "the century is forgiven");
    }
}
