//! The functions for queries, as in the list beside it.

use super::{EngineFunction, GATEWAY, function};

/// Every function for queries.
pub(super) const FUNCTIONS: &[EngineFunction] = &[
    function(
        "rolegate.remember_queries(jsonb,integer)",
        "select rolegate.remember_queries('[]', 1000)",
        GATEWAY,
        None,
    ),
    function(
        "rolegate.query_source(bytea)",
        "select rolegate.query_source('')",
        GATEWAY,
        None,
    ),
];
