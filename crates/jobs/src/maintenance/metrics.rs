//! Names of the maintenance's metrics, and where they are counted.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// 1 while this process leads.
pub const LEADER: &str = "rolegate_maintenance_leader";
/// Seconds of each step.
pub const STEP_SECONDS: &str = "rolegate_maintenance_step_seconds";
/// Steps that failed.
pub const STEP_FAILURES: &str = "rolegate_maintenance_step_failures_total";
/// Jobs whose time had come.
pub const PROMOTED: &str = "rolegate_jobs_promoted_total";
/// Workers that had died.
pub const WORKERS_RESCUED: &str = "rolegate_job_workers_rescued_total";
/// Jobs that were taken from them.
pub const RESCUED: &str = "rolegate_jobs_rescued_total";
/// Jobs that were forgotten after their time.
pub const PRUNED: &str = "rolegate_jobs_pruned_total";
/// Principals of whom there was no job any more.
pub const PRINCIPALS_REMOVED: &str = "rolegate_job_principals_removed_total";
/// Jobs that batches of operators looked at.
pub const BATCHED: &str = "rolegate_jobs_batched_total";
/// Rows of the staging table, by outcome: `moved`, `existing` (its unique key was another job's, which was
/// to be no error), `refused` (a dead letter).
pub const STAGED: &str = "rolegate_staged_jobs_total";
/// Rows that wait there.
pub const STAGING: &str = "rolegate_job_staging_depth";
/// How long the first of them has waited.
pub const OLDEST_STAGED: &str = "rolegate_job_staging_oldest_seconds";
/// Callbacks whose time was over.
pub const CALLBACKS_EXPIRED: &str = "rolegate_job_callbacks_expired_total";
/// Times of cron, by outcome: `fired`, or `skipped` because the job before had not ended.
pub const CRON_TIMES: &str = "rolegate_cron_times_total";
/// Cron entries of the configuration that are refused.
pub const CRONS_REFUSED: &str = "rolegate_cron_entries_refused";
/// Turns of the ring that were begun.
pub const ROTATIONS: &str = "rolegate_job_ring_rotations_total";
/// Segments that were emptied.
pub const EMPTIED: &str = "rolegate_job_segments_emptied_total";
/// Attempts to empty a segment that somebody held a lock on.
pub const HELD: &str = "rolegate_job_segments_held_total";
/// Segments of the ring, by `state`: `used`, `free`.
pub const SEGMENTS: &str = "rolegate_job_ring_segments";
/// Age of the oldest turn.
pub const OLDEST_TURN: &str = "rolegate_job_ring_oldest_turn_seconds";
/// Transactions that the horizon lags behind, by what holds it.
pub const HORIZON_AGE: &str = "rolegate_xmin_horizon_transactions";
/// Seconds for which it has been held.
pub const HORIZON_SECONDS: &str = "rolegate_xmin_horizon_held_seconds";

/// Jobs of a queue, by `state`.
pub const DEPTH: &str = "rolegate_job_queue_depth";
/// How long the first job of a queue has waited.
pub const OLDEST_JOB: &str = "rolegate_job_queue_oldest_seconds";
/// 1 while a queue is paused.
pub const PAUSED: &str = "rolegate_job_queue_paused";

/// Describes them to the recorder of this process.
pub fn describe() {
    describe_gauge!(LEADER, "Whether this process leads the maintenance");
    describe_histogram!(STEP_SECONDS, Unit::Seconds, "Time of each step");
    describe_counter!(STEP_FAILURES, "Steps that failed");
    describe_counter!(PROMOTED, "Jobs whose time had come");
    describe_counter!(WORKERS_RESCUED, "Workers that had died");
    describe_counter!(RESCUED, "Jobs taken from workers that had died");
    describe_counter!(PRUNED, "Ended jobs forgotten after their time");
    describe_counter!(
        PRINCIPALS_REMOVED,
        "Principals of whom there was no job any more"
    );
    describe_counter!(BATCHED, "Jobs that batches of operators looked at");
    describe_counter!(STAGED, "Rows of the staging table, by outcome");
    describe_gauge!(STAGING, "Rows that wait in the staging table");
    describe_gauge!(
        OLDEST_STAGED,
        Unit::Seconds,
        "How long the first row of the staging table has waited"
    );
    describe_counter!(CALLBACKS_EXPIRED, "Callbacks whose time was over");
    describe_counter!(CRON_TIMES, "Times of cron, by outcome");
    describe_gauge!(
        CRONS_REFUSED,
        "Cron entries of the configuration that are refused"
    );
    describe_counter!(ROTATIONS, "Turns of the ring begun");
    describe_counter!(EMPTIED, "Segments emptied");
    describe_counter!(HELD, "Segments not emptied because of a lock");
    describe_gauge!(SEGMENTS, "Segments of the ring");
    describe_gauge!(OLDEST_TURN, Unit::Seconds, "Age of the ring's oldest turn");
    describe_gauge!(DEPTH, "Jobs of a queue, by state");
    describe_gauge!(
        OLDEST_JOB,
        Unit::Seconds,
        "How long a queue's first job has waited"
    );
    describe_gauge!(PAUSED, "Whether a queue is paused");
    describe_gauge!(HORIZON_AGE, "Transactions the horizon lags behind");
    describe_gauge!(
        HORIZON_SECONDS,
        Unit::Seconds,
        "How long the horizon is held"
    );
}

pub(super) fn add(name: &'static str, database: &str, number: u64) {
    if number > 0 {
        counter!(name, "database" => database.to_owned()).increment(number);
    }
}

pub(super) fn leads(database: &str, leads: bool) {
    gauge!(LEADER, "database" => database.to_owned()).set(f64::from(u8::from(leads)));
}

pub(super) fn step(database: &str, step: &'static str, took: Duration) {
    histogram!(STEP_SECONDS, "database" => database.to_owned(), "step" => step).record(took);
}

pub(super) fn step_failed(database: &str, step: &'static str) {
    counter!(STEP_FAILURES, "database" => database.to_owned(), "step" => step).increment(1);
}

pub(super) fn cron(database: &str, outcome: &'static str, times: u64) {
    if times > 0 {
        counter!(CRON_TIMES, "database" => database.to_owned(), "outcome" => outcome)
            .increment(times);
    }
}

/// There are at most 1,000 of them.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(super) fn crons_refused(database: &str, entries: u64) {
    gauge!(CRONS_REFUSED, "database" => database.to_owned()).set(entries as f64);
}

pub(super) fn staged(database: &str, outcome: &'static str, rows: u64) {
    if rows > 0 {
        counter!(STAGED, "database" => database.to_owned(), "outcome" => outcome).increment(rows);
    }
}

/// Counts are below 2^52.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(super) fn staging(database: &str, rows: i64, oldest: f64) {
    gauge!(STAGING, "database" => database.to_owned()).set(rows as f64);
    gauge!(OLDEST_STAGED, "database" => database.to_owned()).set(oldest);
}

pub(super) fn ring(database: &str, used: i32, segments: i32, oldest: f64) {
    for (state, number) in [("used", used), ("free", segments - used)] {
        gauge!(SEGMENTS, "database" => database.to_owned(), "state" => state)
            .set(f64::from(number));
    }
    gauge!(OLDEST_TURN, "database" => database.to_owned()).set(oldest);
}

pub(super) fn horizon(database: &str, kind: &'static str, transactions: f64, seconds: f64) {
    gauge!(HORIZON_AGE, "database" => database.to_owned(), "kind" => kind).set(transactions);
    gauge!(HORIZON_SECONDS, "database" => database.to_owned(), "kind" => kind).set(seconds);
}

/// Counts are below 2^52.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(super) fn depth(database: &str, queue: &str, state: &'static str, count: i64) {
    let (database, queue) = (database.to_owned(), queue.to_owned());
    gauge!(DEPTH, "database" => database, "queue" => queue, "state" => state).set(count as f64);
}

pub(super) fn queue(database: &str, queue: &str, oldest: f64, paused: bool) {
    let labels = [
        ("database", database.to_owned()),
        ("queue", queue.to_owned()),
    ];
    gauge!(OLDEST_JOB, &labels).set(oldest);
    gauge!(PAUSED, &labels).set(f64::from(u8::from(paused)));
}
