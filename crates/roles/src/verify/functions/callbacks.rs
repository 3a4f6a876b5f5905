//! The functions of callbacks, as in the list beside it.

use super::{EngineFunction, NOBODY, function};

const RECEIVER: &[&str] = &["receiver"];

/// Every function of callbacks.
pub(super) const FUNCTIONS: &[EngineFunction] = &[
    function(
        "rolegate.attempt_is_open(bigint,smallint,bigint)",
        "select rolegate.attempt_is_open(0, 1::smallint, 0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.register_callback(bigint,smallint,timestamp with time zone,interval,boolean,jsonb)",
        "select rolegate.register_callback(0, 1::smallint, pg_catalog.now(), '1 hour')",
        &["worker"],
        None,
    ),
    function(
        "rolegate.are_callback_rules(jsonb)",
        "select rolegate.are_callback_rules('{}')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.settle_job(rolegate.job,\"char\",jsonb)",
        "select rolegate.settle_job(null, 'c', null)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.park_job(rolegate.job,jsonb)",
        "select rolegate.park_job(null, null)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.note_progress(bigint,jsonb)",
        "select rolegate.note_progress(0, '{}')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.unpark_job(bigint)",
        "select rolegate.unpark_job(0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.callback_retention()",
        "select rolegate.callback_retention()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.callback_trace(rolegate.job_callback)",
        "select rolegate.callback_trace(null)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.lock_callback(uuid)",
        "select rolegate.lock_callback(pg_catalog.gen_random_uuid())",
        NOBODY,
        None,
    ),
    function(
        "rolegate.is_parked(rolegate.job_callback)",
        "select rolegate.is_parked(null)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.apply_callback(rolegate.job_callback)",
        "select rolegate.apply_callback(null)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.answer_callback(uuid,text,jsonb,bytea,jsonb)",
        "select rolegate.answer_callback(pg_catalog.gen_random_uuid(), 'complete', null, '', null)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.callback_complete(uuid,jsonb,bytea,jsonb)",
        "select rolegate.callback_complete(pg_catalog.gen_random_uuid(), null, '')",
        RECEIVER,
        None,
    ),
    function(
        "rolegate.callback_fail(uuid,text,boolean,bytea)",
        "select rolegate.callback_fail(pg_catalog.gen_random_uuid(), '', false, '')",
        RECEIVER,
        None,
    ),
    function(
        "rolegate.callback_resume(uuid,jsonb,bytea,jsonb)",
        "select rolegate.callback_resume(pg_catalog.gen_random_uuid(), null, '')",
        RECEIVER,
        None,
    ),
    function(
        "rolegate.callback_heartbeat(uuid,double precision,jsonb,bytea)",
        "select rolegate.callback_heartbeat(pg_catalog.gen_random_uuid(), 1, null, '')",
        RECEIVER,
        None,
    ),
    function(
        "rolegate.expire_callbacks(integer)",
        "select rolegate.expire_callbacks(1)",
        &["maintenance"],
        None,
    ),
];
