//! The functions with which people look at jobs and decide about them, as in the list beside it.

use super::{EngineFunction, NOBODY, OPERATOR, function};

const READERS: &[&str] = &["producer", "viewer", "operator"];
const VIEWERS: &[&str] = &["viewer", "operator"];

/// Every function of reading and operating.
pub(super) const FUNCTIONS: &[EngineFunction] = &[
    function(
        "rolegate.sees_all_jobs()",
        "select rolegate.sees_all_jobs()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.owns_job(bigint)",
        "select rolegate.owns_job(0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.ring_state(integer,bigint,xid8)",
        "select rolegate.ring_state(0, 0, '1')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.find_job(bigint)",
        "select rolegate.find_job(0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.job(bigint)",
        "select rolegate.job(0)",
        READERS,
        None,
    ),
    function(
        "rolegate.lane_marks()",
        "select rolegate.lane_marks()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.open_attempts()",
        "select rolegate.open_attempts()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.list_places(text,text,text,text,boolean,bigint,integer)",
        "select rolegate.list_places(null, null, null, null, false, null, 1)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.kinds(text)",
        "select rolegate.kinds()",
        READERS,
        None,
    ),
    function(
        "rolegate.list_jobs(text,text,text,text,bigint,integer)",
        "select rolegate.list_jobs()",
        READERS,
        None,
    ),
    function(
        "rolegate.dead_letters(text,text,text,bigint,integer)",
        "select rolegate.dead_letters()",
        READERS,
        None,
    ),
    function(
        "rolegate.queues()",
        "select rolegate.queues()",
        &["viewer", "operator", "maintenance"],
        None,
    ),
    function(
        "rolegate.workers()",
        "select rolegate.workers()",
        VIEWERS,
        None,
    ),
    function(
        "rolegate.start_decision()",
        "select rolegate.start_decision()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.job_row(bigint,timestamp with time zone,integer,smallint,smallint,smallint,text,bigint,jsonb,jsonb)",
        "select rolegate.job_row(0, null, 0, 0::smallint, 0::smallint, 0::smallint, '', 0, '{}', '{}')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.other_lane(integer,text,integer)",
        "select rolegate.other_lane(4, null, 1)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.cancel(bigint,text)",
        "select rolegate.cancel(0)",
        &["producer", "operator"],
        None,
    ),
    function(
        "rolegate.retry(bigint,text,integer,timestamp with time zone,jsonb)",
        "select rolegate.retry(0)",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.retry_dead_letters(text,text,text,timestamp with time zone,integer)",
        "select rolegate.retry_dead_letters(only_kind => '')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.purge_dead_letters(text,text,text,timestamp with time zone,integer)",
        "select rolegate.purge_dead_letters(before => '-infinity')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.purge_dead_letter(bigint)",
        "select rolegate.purge_dead_letter(0)",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.move_job(bigint,text,integer,timestamp with time zone)",
        "select rolegate.move_job(0)",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.set_job_priority(bigint,integer)",
        "select rolegate.set_job_priority(0, 1)",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.drain_queue(text,integer)",
        "select rolegate.drain_queue('')",
        OPERATOR,
        Some("42704"),
    ),
];
