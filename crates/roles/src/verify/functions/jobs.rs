//! The functions of the job queue, as in the list beside it.

use super::{EngineFunction, NOBODY, OPERATOR, function};

const PRODUCER: &[&str] = &["producer"];
const WORKER: &[&str] = &["worker"];
const MAINTENANCE: &[&str] = &["maintenance"];

/// Every function of the queue.
pub(super) const FUNCTIONS: &[EngineFunction] = &[
    function(
        "rolegate.queue_id(text)",
        "select rolegate.queue_id('default')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.create_queue(text)",
        "select rolegate.create_queue('verify')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.set_queue(text,interval,boolean,interval,interval)",
        "select rolegate.set_queue('default')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.pause_queue(text)",
        "select rolegate.pause_queue('default')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.resume_queue(text)",
        "select rolegate.resume_queue('default')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.job_principal()",
        "select rolegate.job_principal()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.write_segment()",
        "select rolegate.write_segment()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.add_segment()",
        "select rolegate.add_segment()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.queue_lock_key(integer)",
        "select rolegate.queue_lock_key(0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.wake(integer)",
        "select rolegate.wake(1)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.wake_promoter()",
        "select rolegate.wake_promoter()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.job_lane(text,jsonb,text,integer,integer)",
        "select rolegate.job_lane('x', '{}', 'default', 2, 1)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.take_unique_key(text,text,bigint,timestamp with time zone)",
        "select rolegate.take_unique_key('x', 'x', 1, null)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.enqueue(text,jsonb,text,timestamp with time zone,integer,integer,text,text,interval,interval,text[],jsonb,text,text,text)",
        "select rolegate.enqueue('verify')",
        PRODUCER,
        None,
    ),
    function(
        "rolegate.enqueue_many(text,jsonb[],text,integer,integer)",
        "select rolegate.enqueue_many('verify', '{}')",
        PRODUCER,
        None,
    ),
    function(
        "rolegate.lane_lock_key(integer)",
        "select rolegate.lane_lock_key(0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.worker_lock_key(bigint)",
        "select rolegate.worker_lock_key(0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.register_worker(text,text,text[])",
        "select rolegate.register_worker('verify', '', '{default}')",
        WORKER,
        None,
    ),
    function(
        "rolegate.close_buried(integer,bigint,smallint)",
        "select rolegate.close_buried(0, 0, 0::smallint)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.end_pass(rolegate.job_claim,bigint,smallint)",
        "select rolegate.end_pass(null, 0, 0::smallint)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.claim_jobs(bigint,integer[],integer)",
        "select rolegate.claim_jobs(0, '{}', 1)",
        WORKER,
        Some("P0002"),
    ),
    function(
        "rolegate.job_principals(bigint[])",
        "select rolegate.job_principals('{}')",
        WORKER,
        None,
    ),
    function(
        "rolegate.worker_alive(bigint,bigint)",
        "select rolegate.worker_alive(0, null)",
        WORKER,
        None,
    ),
    function(
        "rolegate.await_jobs(integer[])",
        "select rolegate.await_jobs('{}')",
        &["worker", "maintenance"],
        None,
    ),
    function(
        "rolegate.claim_lock_key(bigint)",
        "select rolegate.claim_lock_key(0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.job_backoff(integer,integer)",
        "select rolegate.job_backoff(4, 1)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.release_job(bigint,smallint)",
        "select rolegate.release_job(0, 0::smallint)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.requeue_job(rolegate.job,timestamp with time zone,text)",
        "select rolegate.requeue_job(null, null, null)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.end_job(rolegate.job,text,text,jsonb)",
        "select rolegate.end_job(null, '', '', null)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.settle_attempt(integer,bigint,\"char\",jsonb)",
        "select rolegate.settle_attempt(0, 0, 'c', null)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.finish_jobs(bigint,bigint[],smallint[],timestamp with time zone[],\"char\"[],jsonb[],smallint[])",
        "select rolegate.finish_jobs(0, '{}', '{}', '{}')",
        WORKER,
        None,
    ),
    function(
        "rolegate.abandon_worker(bigint)",
        "select rolegate.abandon_worker(0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.ended_attempts(bigint[],smallint[],timestamp with time zone[])",
        "select rolegate.ended_attempts('{}', '{}', '{}')",
        WORKER,
        None,
    ),
    function(
        "rolegate.note_jobs(bigint,bigint[],smallint[],timestamp with time zone[],jsonb[])",
        "select rolegate.note_jobs(0, '{}', '{}', '{}', '{}')",
        WORKER,
        None,
    ),
    function(
        "rolegate.attempt_checkpoint(bigint,smallint,timestamp with time zone)",
        "select rolegate.attempt_checkpoint(0, 1::smallint, pg_catalog.now())",
        WORKER,
        None,
    ),
    function(
        "rolegate.give_back_claims(bigint,bigint[],timestamp with time zone[])",
        "select rolegate.give_back_claims(0, '{}', '{}')",
        WORKER,
        None,
    ),
    function(
        "rolegate.unregister_worker(bigint)",
        "select rolegate.unregister_worker(0)",
        WORKER,
        None,
    ),
    function(
        "rolegate.maintenance_lock_key()",
        "select rolegate.maintenance_lock_key()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.promote_jobs(integer)",
        "select rolegate.promote_jobs(1)",
        MAINTENANCE,
        None,
    ),
    function(
        "rolegate.rescue_jobs(interval)",
        "select rolegate.rescue_jobs('1 day')",
        MAINTENANCE,
        None,
    ),
    function(
        "rolegate.lane_cursors()",
        "select rolegate.lane_cursors()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.segment_is_drained(smallint)",
        "select rolegate.segment_is_drained(0::smallint)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.rotate_jobs()",
        "select rolegate.rotate_jobs()",
        MAINTENANCE,
        None,
    ),
    function(
        "rolegate.close_turns()",
        "select rolegate.close_turns()",
        MAINTENANCE,
        None,
    ),
    function(
        "rolegate.carry_cursors()",
        "select rolegate.carry_cursors()",
        MAINTENANCE,
        None,
    ),
    function(
        "rolegate.empty_segment()",
        "select rolegate.empty_segment()",
        MAINTENANCE,
        None,
    ),
    function(
        "rolegate.prune_jobs(integer)",
        "select rolegate.prune_jobs(1)",
        MAINTENANCE,
        None,
    ),
];
