//! Places for those who come again.

use std::time::Duration;

use tokio::time::Instant;

/// Nobody comes again sooner: each who does costs the queue of jobs a turn.
const SOONEST: Duration = Duration::from_secs(1);
/// Nor later: the host may have become faster.
const LATEST: Duration = Duration::from_mins(5);
/// What a request is taken to need before one was seen.
const UNKNOWN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Queue {
    /// How long a request takes, on a moving average.
    each: Duration,
    /// Places up to here are given out.
    given: Option<Instant>,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            each: UNKNOWN,
            given: None,
        }
    }

    /// A request took so long.
    pub(super) fn took(&mut self, time: Duration) {
        self.each = (self.each * 4 + time) / 5;
    }

    /// The next place, at `from` or later, of a host that serves so many at a time.
    pub(super) fn place(&mut self, now: Instant, from: Instant, parallel: usize) -> Duration {
        let first = from.max(now + SOONEST);
        let latest = first + LATEST;
        let place = self
            .given
            .map_or(first, |given| given.max(first))
            .min(latest);
        let parallel = u32::try_from(parallel.max(1)).unwrap_or(u32::MAX);
        self.given = Some(place + self.each / parallel);
        place - now
    }

    /// Places that were given out are those of another time.
    pub(super) fn begin_again(&mut self, now: Instant) {
        self.given = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn places_follow_each_other_as_fast_as_requests_end() {
        let (mut queue, now) = (Queue::new(), Instant::now());
        for _ in 0..100 {
            queue.took(Duration::from_secs(4));
        }
        let places: Vec<Duration> = (0..4).map(|_| queue.place(now, now, 2)).collect();
        for (place, seconds) in places.iter().zip([1, 3, 5, 7]) {
            let off = place.abs_diff(Duration::from_secs(seconds));
            assert!(off < Duration::from_millis(20), "{places:?}");
        }
        // After a pause they begin with the present.
        let later = now + Duration::from_mins(1);
        assert_eq!(queue.place(later, later, 2), SOONEST);
        // With a host that is down, when it is tried.
        let down = later + Duration::from_secs(30);
        assert_eq!(queue.place(later, down, 2), Duration::from_secs(30));
        assert!(queue.place(later, down, 2) > Duration::from_secs(31));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_sent_away_for_ever() {
        let (mut queue, now) = (Queue::new(), Instant::now());
        queue.took(Duration::from_hours(1));
        let last = (0..1000).map(|_| queue.place(now, now, 1)).max();
        assert_eq!(last, Some(LATEST + SOONEST));
    }
}
