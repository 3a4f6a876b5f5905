//! `/v1/{database}/jobs`: jobs, by whoever enqueued them, viewers and operators.

pub(crate) mod bulk_cancel;
pub(crate) mod bulk_retry;
pub(crate) mod cancel;
pub(crate) mod enqueue;
pub(crate) mod events;
pub(crate) mod filter;
pub(crate) mod list;
pub(crate) mod retry;
pub(crate) mod schema;
pub(crate) mod show;

use rolegate_model::ErrorCode;

use crate::problem::Problem;
use crate::routes::admin;

/// Characters of a name: a kind, a queue.
pub(crate) const MAX_NAME: usize = 200;
/// Characters of a tag: those of all tags of a job.
pub(crate) const MAX_TAG: usize = 4000;
/// Characters of a reason.
pub(crate) const MAX_REASON: usize = 1000;
/// Ids of one request.
pub(crate) const MAX_IDS: usize = 100;

/// One job as the database says it; `$1` is its id. No row: none that the caller may see.
pub(crate) const JOB: &str = include_str!("jobs/job.sql");

pub(crate) const STATES: [&str; 8] = [
    "scheduled",
    "available",
    "running",
    "waiting_external",
    "retryable",
    "completed",
    "failed",
    "cancelled",
];

pub(crate) fn no_such_job() -> Problem {
    Problem::new(ErrorCode::NotFound)
        .message("There is no such job.")
        .hint("It is forgotten, or it is not yours: only viewers and operators see everybody's.")
}

/// What the database says about a decision on jobs. Its own words stay inside.
pub(crate) fn refusal(problem: Problem, hint: &'static str) -> Problem {
    match problem.sqlstate.as_deref() {
        Some("42704") => unknown_queue(),
        Some("55P03") => problem
            .message("Somebody else decides about the same jobs.")
            .hint("Nothing was changed; try again."),
        _ => admin::needs(problem, hint),
    }
}

/// A queue that a member or a parameter names.
pub(crate) fn unknown_queue() -> Problem {
    Problem::at("queue", "is no queue").hint("`GET queues` lists them; an operator makes one.")
}
