//! Names of the worker's metrics, and where they are counted.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

/// Jobs that were claimed.
pub const CLAIMED: &str = "rolegate_jobs_claimed_total";
/// Claims that found nothing.
pub const EMPTY_CLAIMS: &str = "rolegate_job_claims_empty_total";
/// Seconds of a claim that found something.
pub const CLAIM_SECONDS: &str = "rolegate_job_claim_seconds";
/// Seconds from enqueueing, or from coming back to the queue, to the start of an attempt.
pub const WAIT_SECONDS: &str = "rolegate_job_wait_seconds";
/// Attempts by kind and outcome.
pub const ATTEMPTS: &str = "rolegate_job_attempts_total";
/// Seconds in a handler, by kind.
pub const RUN_SECONDS: &str = "rolegate_job_run_seconds";
/// Ends of attempts that were written.
pub const FINISHED: &str = "rolegate_jobs_finished_total";
/// Seconds of writing a batch of ends.
pub const FINISH_SECONDS: &str = "rolegate_job_finish_seconds";
/// Ends that came too late: the attempt had ended elsewhere.
pub const TOO_LATE: &str = "rolegate_job_attempts_too_late_total";

/// Describes them to the recorder of this process.
pub fn describe() {
    describe_counter!(CLAIMED, "Jobs claimed");
    describe_counter!(EMPTY_CLAIMS, "Claims that found nothing");
    describe_histogram!(CLAIM_SECONDS, Unit::Seconds, "Time of a claim with jobs");
    describe_histogram!(
        WAIT_SECONDS,
        Unit::Seconds,
        "Time a job waited for its start"
    );
    describe_counter!(ATTEMPTS, "Attempts by kind and outcome");
    describe_histogram!(RUN_SECONDS, Unit::Seconds, "Time in a handler, by kind");
    describe_counter!(FINISHED, "Ends of attempts written");
    describe_histogram!(
        FINISH_SECONDS,
        Unit::Seconds,
        "Time to write a batch of ends"
    );
    describe_counter!(TOO_LATE, "Attempts that had ended elsewhere");
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

pub(crate) fn claimed(jobs: usize) {
    counter!(CLAIMED).increment(count(jobs));
}

pub(crate) fn empty_claim() {
    counter!(EMPTY_CLAIMS).increment(1);
}

pub(crate) fn claim_took(time: Duration) {
    histogram!(CLAIM_SECONDS).record(time);
}

pub(crate) fn started(waited: Duration) {
    histogram!(WAIT_SECONDS).record(waited);
}

/// `kind` is one that has a handler of its own.
pub(crate) fn ended(kind: &str, outcome: &'static str, took: Duration) {
    counter!(ATTEMPTS, "kind" => kind.to_owned(), "outcome" => outcome).increment(1);
    histogram!(RUN_SECONDS, "kind" => kind.to_owned()).record(took);
}

pub(crate) fn finished(attempts: usize, took: Duration) {
    counter!(FINISHED).increment(count(attempts));
    histogram!(FINISH_SECONDS).record(took);
}

pub(crate) fn too_late(attempts: usize) {
    counter!(TOO_LATE).increment(count(attempts));
}
