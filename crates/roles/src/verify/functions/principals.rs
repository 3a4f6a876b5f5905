//! The functions about for whom jobs run, as in the list beside it.

use super::{EngineFunction, NOBODY, OPERATOR, function};

/// Every function about principals but those that enqueue.
pub(super) const FUNCTIONS: &[EngineFunction] = &[
    function(
        "rolegate.used_principals()",
        "select rolegate.used_principals()",
        NOBODY,
        None,
    ),
    function(
        "rolegate.sweep_principals(interval,integer)",
        "select rolegate.sweep_principals('1 day', 1)",
        &["maintenance"],
        None,
    ),
    function(
        "rolegate.rebind_jobs(text[],boolean)",
        "select rolegate.rebind_jobs(dry_run => true)",
        OPERATOR,
        None,
    ),
];
