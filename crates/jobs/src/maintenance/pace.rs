//! When a step may run again.

use std::time::Duration;

use tokio::time::Instant;

/// Between two runs that found nothing to do, however due they were.
const SHORTEST: Duration = Duration::from_millis(50);

/// One step's pace.
#[derive(Debug)]
pub(super) struct Pace {
    not_before: Instant,
    /// Between two runs in any case.
    least: Duration,
    /// Between two runs of which the first came to nothing.
    most: Duration,
    /// It takes at most one part in so many of the time; 0: as much as it needs.
    share: u32,
    in_vain: u32,
}

impl Pace {
    /// Of a step that is to be on time.
    pub(super) fn prompt(most: Duration) -> Self {
        Self {
            not_before: Instant::now(),
            least: Duration::ZERO,
            most,
            share: 0,
            in_vain: 0,
        }
    }

    /// Of a step that may wait, and takes at most one part in `share` of the time.
    pub(super) fn patient(least: Duration, most: Duration, share: u32) -> Self {
        Self {
            least,
            share,
            ..Self::prompt(most)
        }
    }

    /// When it may run, if it is due in so many seconds.
    pub(super) fn at(&self, due: Option<f64>) -> Option<Instant> {
        let due = Duration::try_from_secs_f64(due?.clamp(0.0, 86_400.0)).unwrap_or_default();
        Some(self.not_before.max(Instant::now() + due))
    }

    /// Whether it may run now.
    pub(super) fn is_due(&self, due: Option<f64>) -> bool {
        due.is_some_and(|seconds| seconds <= 0.0) && self.not_before <= Instant::now()
    }

    /// It did something.
    pub(super) fn did(&mut self, took: Duration) {
        self.in_vain = 0;
        self.not_before = Instant::now() + self.least.max(took * self.share).min(self.limit());
    }

    /// It did nothing, though it was due: somebody holds a lock, or something else is not done yet.
    pub(super) fn did_nothing(&mut self, took: Duration) {
        let doubled = self.least.max(SHORTEST) * (1 << self.in_vain.min(10));
        self.in_vain += 1;
        let pause = doubled.min(self.most).max(took * self.share);
        self.not_before = Instant::now() + pause.min(self.limit());
    }

    fn limit(&self) -> Duration {
        self.most.max(Duration::from_mins(5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_step_in_vain_comes_less_often_and_a_long_one_too() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::patient(second, 8 * second, 20);
        assert!(pace.is_due(Some(0.0)) && !pace.is_due(Some(0.1)) && !pace.is_due(None));
        for seconds in [1, 2, 4, 8, 8] {
            pace.did_nothing(Duration::ZERO);
            assert_eq!(pace.at(Some(-5.0)), Some(Instant::now() + second * seconds));
            assert!(!pace.is_due(Some(-5.0)));
            tokio::time::advance(second * seconds).await;
            assert!(pace.is_due(Some(-5.0)));
        }
        pace.did(3 * second);
        assert_eq!(pace.at(Some(0.0)), Some(Instant::now() + second * 60));
        pace.did(Duration::ZERO);
        assert_eq!(pace.at(Some(30.0)), Some(Instant::now() + second * 30));
    }
}
