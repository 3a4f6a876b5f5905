//! The functions about what people are told of queues and kinds, as in the list beside it.

use super::{EngineFunction, NOBODY, OPERATOR, function};

/// Every function about descriptors.
pub(super) const FUNCTIONS: &[EngineFunction] = &[
    function(
        "rolegate.descriptor_of(text,text,text,text,text[])",
        "select rolegate.descriptor_of('', '', '', '', '{}')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.descriptor_differs(jsonb,text,jsonb)",
        "select rolegate.descriptor_differs('{}', 'code', '{}')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.declare_jobs(bigint,jsonb)",
        "select rolegate.declare_jobs(0, '[]')",
        &["worker"],
        Some("P0002"),
    ),
    function(
        "rolegate.describe(text,text,text,text,text,text,text[])",
        "select rolegate.describe('kind', 'verify', '', '', '', '', '{}')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.describe_queue(text,text,text,text,text,text[])",
        "select rolegate.describe_queue('default')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.describe_kind(text,text,text,text,text,text[])",
        "select rolegate.describe_kind('verify')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.forget_descriptor(text,text)",
        "select rolegate.forget_descriptor('kind', 'verify')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.descriptors(text,text,integer)",
        "select rolegate.descriptors()",
        &["operator", "viewer"],
        None,
    ),
];
