//! The functions of leadership and cron, as in the list beside it.

use super::{EngineFunction, NOBODY, OPERATOR, function};

const MAINTENANCE: &[&str] = &["maintenance"];

/// Every function of leadership and cron.
pub(super) const FUNCTIONS: &[EngineFunction] = &[
    function(
        "rolegate.leader_lock_key()",
        "select rolegate.leader_lock_key()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.lead_maintenance(text)",
        "select rolegate.lead_maintenance(null)",
        MAINTENANCE,
        Some("22023"),
    ),
    function(
        "rolegate.leader_key_holders()",
        "select rolegate.leader_key_holders()",
        MAINTENANCE,
        None,
    ),
    function(
        "rolegate.maintenance_leader()",
        "select rolegate.maintenance_leader()",
        &["operator", "viewer"],
        None,
    ),
    function(
        "rolegate.maintenance_due(interval)",
        "select rolegate.maintenance_due('30 seconds')",
        MAINTENANCE,
        None,
    ),
    function(
        "rolegate.role_principal(text,oid)",
        "select rolegate.role_principal('x', 0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.set_cron(text,text,text,jsonb,text,text,integer,integer,text,boolean,text,text)",
        "select rolegate.set_cron('verify', '@daily', 'verify')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.declare_crons(text,jsonb)",
        "select rolegate.declare_crons('verify', '[]')",
        &["maintenance", "operator", "worker"],
        None,
    ),
    function(
        "rolegate.declare_cron(text,jsonb)",
        "select rolegate.declare_cron('verify', '{}')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.declared_cron_principal(text)",
        "select rolegate.declared_cron_principal('verify')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.allow_declared_cron(text)",
        "select rolegate.allow_declared_cron('verify')",
        OPERATOR,
        Some("42704"),
    ),
    function(
        "rolegate.forbid_declared_cron(text)",
        "select rolegate.forbid_declared_cron('verify')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.declared_cron_roles()",
        "select rolegate.declared_cron_roles()",
        &["operator", "viewer"],
        None,
    ),
    function(
        "rolegate.remove_cron(text)",
        "select rolegate.remove_cron('verify')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.require_cron(text)",
        "select rolegate.require_cron('verify')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.pause_cron(text)",
        "select rolegate.pause_cron('verify')",
        OPERATOR,
        Some("42704"),
    ),
    function(
        "rolegate.resume_cron(text)",
        "select rolegate.resume_cron('verify')",
        OPERATOR,
        Some("42704"),
    ),
    function(
        "rolegate.list_crons()",
        "select rolegate.list_crons()",
        &["operator", "viewer"],
        None,
    ),
    function(
        "rolegate.enqueue_cron(rolegate.job_cron,timestamp with time zone,boolean)",
        "select rolegate.enqueue_cron(null, null, false)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.trigger_cron(text)",
        "select rolegate.trigger_cron('verify')",
        OPERATOR,
        Some("42704"),
    ),
    function(
        "rolegate.due_crons()",
        "select rolegate.due_crons()",
        MAINTENANCE,
        None,
    ),
    function(
        "rolegate.fire_cron(text,bigint,timestamp with time zone[],timestamp with time zone)",
        "select rolegate.fire_cron('verify', 0, '{}', null)",
        MAINTENANCE,
        None,
    ),
    function(
        "rolegate.reject_cron(text,bigint,text)",
        "select rolegate.reject_cron('verify', 0, '')",
        MAINTENANCE,
        None,
    ),
];
