//! The functions of the staging table, as in the list beside it.

use super::{EngineFunction, NOBODY, function};

const MAINTENANCE: &[&str] = &["maintenance"];

/// Every function of the staging table.
pub(super) const FUNCTIONS: &[EngineFunction] = &[
    function(
        "rolegate.job_staged()",
        "select rolegate.job_staged()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.staging_lock_key()",
        "select rolegate.staging_lock_key()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.move_staged(bigint[])",
        "select rolegate.move_staged('{}')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.refuse_staged(bigint,text)",
        "select rolegate.refuse_staged(1, 'x')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.move_staged_parts(bigint[],integer)",
        "select rolegate.move_staged_parts('{}', 1)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.move_staged_jobs(integer)",
        "select rolegate.move_staged_jobs(1)",
        MAINTENANCE,
        None,
    ),
    function(
        "rolegate.truncate_staging()",
        "select rolegate.truncate_staging()",
        MAINTENANCE,
        None,
    ),
    function(
        "rolegate.staging()",
        "select rolegate.staging()",
        &["maintenance", "operator", "viewer"],
        None,
    ),
];
