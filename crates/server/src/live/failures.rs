//! How often a run that failed is repeated.

use std::time::Duration;

use rolegate_model::ErrorCode;
use tokio::time::Instant;

use crate::problem::Problem;

/// Runs that fail one after the other for a reason that may lie in the data or the tables.
const TRIES: u32 = 3;
/// How long the database may be away or busy.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Failures since the last run that did not fail.
#[derive(Debug, Default)]
pub(super) struct Failures {
    first: Option<Instant>,
    /// Of those that were the query's.
    own: u32,
    pause: Option<Duration>,
}

/// It is to be tried again.
#[derive(Debug)]
pub(super) struct Again {
    problem: Problem,
    pause: Duration,
}

impl Failures {
    /// After a failure: whether to try again, and when.
    pub(super) fn after(&mut self, problem: Problem) -> Result<Again, Problem> {
        let since = *self.first.get_or_insert_with(Instant::now);
        let again = match problem.code {
            // The database, or too much at a time: nothing is wrong with the query.
            ErrorCode::BudgetExceeded
            | ErrorCode::Overloaded
            | ErrorCode::DatabaseUnavailable
            | ErrorCode::RoleNotAdmitted => since.elapsed() < PATIENCE,
            ErrorCode::DatabaseError
            | ErrorCode::DeadlineExceeded
            | ErrorCode::QueryRefused
            | ErrorCode::PermissionDenied
            | ErrorCode::Internal => {
                self.own += 1;
                self.own < TRIES
            }
            _ => false,
        };
        if !again {
            return Err(problem);
        }
        let pause = self.pause.map_or(FIRST_PAUSE, |pause| pause * 2);
        let pause = pause.max(problem.retry_after.unwrap_or_default());
        let pause = pause.min(LONGEST_PAUSE);
        self.pause = Some(pause);
        Ok(Again { problem, pause })
    }
}

impl Again {
    pub(super) fn problem(&self) -> &Problem {
        &self.problem
    }

    pub(super) fn pause(&self) -> Duration {
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_away_is_waited_for_and_not_for_ever() {
        let away = || Problem::new(ErrorCode::DatabaseUnavailable);
        let mut failures = Failures::default();
        let pauses = (0..10).map(|_| failures.after(away()).expect("again").pause());
        let pauses: Vec<_> = pauses.collect();
        assert_eq!(pauses[..3], [50, 100, 200].map(Duration::from_millis));
        assert_eq!(pauses[9], LONGEST_PAUSE);
        failures.first = Instant::now().checked_sub(PATIENCE);
        assert!(failures.after(away()).is_err());
    }

    #[test]
    fn a_query_that_fails_is_tried_a_few_times() {
        let mut failures = Failures::default();
        assert!(
            failures
                .after(Problem::new(ErrorCode::DatabaseError))
                .is_ok()
        );
        assert!(
            failures
                .after(Problem::new(ErrorCode::DatabaseError))
                .is_ok()
        );
        assert!(
            failures
                .after(Problem::new(ErrorCode::DatabaseError))
                .is_err()
        );
    }

    #[test]
    fn what_can_not_get_better_is_not_repeated() {
        for code in [
            ErrorCode::ResultTooLarge,
            ErrorCode::QueryChanged,
            ErrorCode::RoleReplaced,
        ] {
            assert!(Failures::default().after(Problem::new(code)).is_err());
        }
    }
}
