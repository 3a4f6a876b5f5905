//! Work of which the database does a bounded part in each transaction, until none is left.

use std::time::Duration;

use bytes::Bytes;
use rolegate_model::ErrorCode;
use tokio::time::Instant;

use crate::problem::Problem;

/// How long one request goes on.
const LONGEST: Duration = Duration::from_secs(20);

/// What was done, and whether nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) count: u64,
    pub(crate) complete: bool,
}

/// Rounds that were done.
#[derive(Debug)]
pub(crate) struct Rounds {
    until: Instant,
    count: u64,
}

impl Rounds {
    pub(crate) fn begin() -> Self {
        Self {
            until: Instant::now() + LONGEST,
            count: 0,
        }
    }

    /// Counts what a round has done; the end, if there is no further one. What rounds before a
    /// failure have done stays done, and the failure says how much that was.
    pub(crate) fn after(&mut self, round: Result<u64, Problem>) -> Result<Option<Done>, Problem> {
        let number = match round {
            Ok(number) => number,
            Err(problem) if self.count == 0 => return Err(problem),
            Err(problem) => {
                let count = self.count;
                return Err(problem.hint(format!(
                    "{count} jobs were done before; repeat the request for the rest."
                )));
            }
        };
        self.count += number;
        let complete = number == 0;
        let ends = complete || Instant::now() >= self.until;
        Ok(ends.then_some(Done {
            count: self.count,
            complete,
        }))
    }
}

/// A number that the database gave.
pub(crate) fn number(value: Option<Bytes>) -> Result<u64, Problem> {
    value
        .and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok())
        .ok_or_else(|| Problem::new(ErrorCode::Internal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_until_nothing_is_left_or_for_its_time() {
        let mut rounds = Rounds::begin();
        assert_eq!(rounds.after(Ok(1000)), Ok(None));
        assert_eq!(rounds.after(Ok(3)), Ok(None));
        let done = |count, complete| Ok(Some(Done { count, complete }));
        assert_eq!(rounds.after(Ok(0)), done(1003, true));

        let until = Instant::now();
        let mut rounds = Rounds { until, count: 0 };
        assert_eq!(rounds.after(Ok(10)), done(10, false));
    }

    #[test]
    fn a_failure_says_what_was_done_before() {
        let mut rounds = Rounds::begin();
        let failure = || Err(Problem::new(ErrorCode::Overloaded));
        assert_eq!(rounds.after(failure()).expect_err("it fails").hint, None);
        assert_eq!(rounds.after(Ok(10)), Ok(None));
        let hint = rounds.after(failure()).expect_err("it fails").hint;
        assert!(hint.is_some_and(|hint| hint.starts_with("10 jobs")));
    }
}
