//! The functions of the change stream, as in the list beside it.

use super::{EngineFunction, GATEWAY, NOBODY, OPERATOR, function};

const REPLICATOR: &[&str] = &["replicator"];

/// What it raises to whoever does not read.
const NOT_THE_READER: Option<&str> = Some("55000");

/// Every function of the change stream.
pub(super) const FUNCTIONS: &[EngineFunction] = &[
    function(
        "rolegate.change_stream_lock_key()",
        "select rolegate.change_stream_lock_key()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.reads_change_stream(integer)",
        "select rolegate.reads_change_stream(0)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.lead_change_stream()",
        "select rolegate.lead_change_stream()",
        REPLICATOR,
        None,
    ),
    function(
        "rolegate.require_change_reader()",
        "select rolegate.require_change_reader()",
        NOBODY,
        NOT_THE_READER,
    ),
    function(
        "rolegate.change_epoch(text)",
        "select rolegate.change_epoch('x')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.begin_change_stream(text,text,bigint,pg_lsn,text)",
        "select rolegate.begin_change_stream('x', 'x', 1)",
        REPLICATOR,
        NOT_THE_READER,
    ),
    function(
        "rolegate.note_change_position(pg_lsn)",
        "select rolegate.note_change_position('0/1')",
        REPLICATOR,
        NOT_THE_READER,
    ),
    function(
        "rolegate.wake_change_stream()",
        "select rolegate.wake_change_stream()",
        REPLICATOR,
        None,
    ),
    function(
        "rolegate.offer_change_relay(integer,text,bytea,bytea)",
        "select rolegate.offer_change_relay(1, 'x', '', '')",
        REPLICATOR,
        NOT_THE_READER,
    ),
    function(
        "rolegate.change_relay()",
        "select rolegate.change_relay()",
        GATEWAY,
        None,
    ),
    function(
        "rolegate.change_relay_term()",
        "select rolegate.change_relay_term()",
        GATEWAY,
        None,
    ),
    function(
        "rolegate.change_relay_address()",
        "select rolegate.change_relay_address()",
        &["operator", "viewer"],
        None,
    ),
    function(
        "rolegate.renew_change_epoch(text)",
        "select rolegate.renew_change_epoch()",
        OPERATOR,
        NOT_THE_READER,
    ),
    function(
        "rolegate.change_stream_state()",
        "select rolegate.change_stream_state()",
        &[
            "gateway",
            "worker",
            "receiver",
            "maintenance",
            "console",
            "replicator",
            "operator",
            "viewer",
        ],
        None,
    ),
    function(
        "rolegate.unpublishable(oid)",
        "select rolegate.unpublishable(0)",
        &["operator", "viewer"],
        None,
    ),
    function(
        "rolegate.unpublish()",
        "select rolegate.unpublish()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.note_definitions(oid[])",
        "select rolegate.note_definitions('{}')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.note_changed_definitions()",
        "select rolegate.note_changed_definitions()",
        &["publisher"],
        None,
    ),
    function(
        "rolegate.note_dropped_definitions()",
        "select rolegate.note_dropped_definitions()",
        &["publisher"],
        None,
    ),
    // Triggers, which nobody can call, of a role that nobody is a member of.
    EngineFunction {
        owner: "publisher",
        ..function(
            "rolegate.note_command()",
            "select rolegate.note_command()",
            NOBODY,
            None,
        )
    },
    EngineFunction {
        owner: "publisher",
        ..function(
            "rolegate.note_drop()",
            "select rolegate.note_drop()",
            NOBODY,
            None,
        )
    },
];
