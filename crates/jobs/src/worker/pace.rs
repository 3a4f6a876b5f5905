//! How many jobs to have claimed at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Work to have at hand beyond what runs: about the time of a few round trips.
const AHEAD: Duration = Duration::from_millis(20);
/// Weight of the newest duration in the mean: one in so many.
const MEMORY: u64 = 16;
const UNKNOWN: u64 = u64::MAX;

/// From how long jobs take: short ones are claimed ahead, so that slots don't wait for the database;
/// long ones are not, so that other workers can have them.
#[derive(Debug)]
pub(super) struct Pace {
    slots: usize,
    most_ahead: usize,
    /// Moving mean of the time in a handler, in nanoseconds.
    mean: AtomicU64,
}

impl Pace {
    pub(super) fn new(slots: usize, most_ahead: usize) -> Self {
        Self {
            slots,
            most_ahead,
            mean: AtomicU64::new(UNKNOWN),
        }
    }

    /// A job took so long.
    pub(super) fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(UNKNOWN - 1);
        let mean = self.mean.load(Ordering::Relaxed);
        let next = if mean == UNKNOWN {
            took
        } else {
            mean - mean / MEMORY + took / MEMORY
        };
        // Two at once may lose one; it is a mean.
        self.mean.store(next, Ordering::Relaxed);
    }

    /// Jobs to have claimed, those that run included.
    pub(super) fn wanted(&self) -> usize {
        let mean = self.mean.load(Ordering::Relaxed);
        if mean == UNKNOWN {
            return self.slots;
        }
        let each = u64::try_from(AHEAD.as_nanos()).unwrap_or(u64::MAX) / mean.max(1);
        let ahead = usize::try_from(each)
            .unwrap_or(usize::MAX)
            .saturating_mul(self.slots);
        self.slots + ahead.min(self.most_ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_jobs_are_claimed_ahead() {
        let pace = Pace::new(4, 512);
        assert_eq!(pace.wanted(), 4, "nothing is known yet");
        pace.note(Duration::from_micros(10));
        assert_eq!(pace.wanted(), 4 + 512);
        for _ in 0..200 {
            pace.note(Duration::from_secs(1));
        }
        assert_eq!(pace.wanted(), 4);
        for _ in 0..400 {
            pace.note(Duration::from_millis(10));
        }
        assert!((4..=4 + 8).contains(&pace.wanted()), "{}", pace.wanted());
    }
}
