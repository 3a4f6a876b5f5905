//! The functions of the limits that workers keep together and of flows, as in the list beside it.

use super::{EngineFunction, NOBODY, OPERATOR, function};

const PRODUCER: &[&str] = &["producer"];
const READERS: &[&str] = &["producer", "viewer", "operator"];

/// Every function of places, rates and flows.
pub(super) const FUNCTIONS: &[EngineFunction] = &[
    function(
        "rolegate.gate_lock_key(integer)",
        "select rolegate.gate_lock_key(0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.rate_room(timestamp with time zone,double precision,integer)",
        "select rolegate.rate_room(null, 1, 1)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.use_rate(integer,text,double precision,integer)",
        "select rolegate.use_rate(0, '', 1, 1)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.queue_room(integer,integer)",
        "select rolegate.queue_room(1, 1)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.take_queue_places(integer,integer,integer)",
        "select rolegate.take_queue_places(1, 4, 1)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.leave_queue_places(bigint[])",
        "select rolegate.leave_queue_places('{}')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.key_places(integer,text)",
        "select rolegate.key_places(1, 'o:x')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.admit_job(bigint,smallint,bigint,bigint,timestamp with time zone,integer,smallint,smallint,smallint,text,bigint,jsonb,jsonb)",
        "select rolegate.admit_job(0, 0::smallint, 0, 0, null, 0, 0::smallint, 0::smallint, 0::smallint, '', 0, '{}', '{}')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.fill_places(integer,text)",
        "select rolegate.fill_places(1, 'o:x')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.use_openings(integer)",
        "select rolegate.use_openings(1)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.leave_places(bigint,boolean)",
        "select rolegate.leave_places(0, true)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.set_queue_limits(text,integer,double precision,integer,integer,double precision,integer)",
        "select rolegate.set_queue_limits('default')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.queue_keys(text,integer)",
        "select rolegate.queue_keys('default')",
        &["viewer", "operator"],
        None,
    ),
    function(
        "rolegate.child_ended(bigint)",
        "select rolegate.child_ended(0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.look_at_children(bigint)",
        "select rolegate.look_at_children(0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.enqueue_node(jsonb,bigint,integer,bigint,integer,text,integer)",
        "select rolegate.enqueue_node('{}', null, null, 0, 11, '', 0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.enqueue_flow(jsonb)",
        "select rolegate.enqueue_flow('{\"kind\": \"verify\"}')",
        PRODUCER,
        None,
    ),
    function(
        "rolegate.job_children(bigint,bigint,integer)",
        "select rolegate.job_children(0)",
        READERS,
        None,
    ),
];
