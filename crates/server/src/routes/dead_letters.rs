//! `/v1/{database}/dlq`: jobs that failed for good and are kept for people.

pub(crate) mod bulk;
pub(crate) mod bulk_purge;
pub(crate) mod bulk_retry;
pub(crate) mod depth;
pub(crate) mod list;
pub(crate) mod purge;
pub(crate) mod retry;
pub(crate) mod show;

use rolegate_model::ErrorCode;

use crate::problem::Problem;

fn no_such_letter() -> Problem {
    Problem::new(ErrorCode::NotFound)
        .message("There is no such dead letter.")
        .hint("It was retried, purged or forgotten, or it is not yours.")
}
