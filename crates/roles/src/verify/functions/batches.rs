//! The functions of batches and of what is kept, as in the list beside it.

use super::{EngineFunction, NOBODY, OPERATOR, function};

const VIEWERS: &[&str] = &["viewer", "operator"];

/// Every function of batches and retention.
pub(super) const FUNCTIONS: &[EngineFunction] = &[
    function(
        "rolegate.check_batch(text,text,text,text,text,boolean,text,integer)",
        "select rolegate.check_batch('cancel', null, null, 'x', null, false, null, null)",
        NOBODY,
        None,
    ),
    function(
        "rolegate.batch_means(text,text)",
        "select rolegate.batch_means('cancel', 'running')",
        NOBODY,
        None,
    ),
    function(
        "rolegate.preview_batch(text,text,text,text,text,boolean,text,integer)",
        "select rolegate.preview_batch('cancel', only_kind => 'x')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.submit_batch(text,text,text,text,text,boolean,text,integer,text)",
        "select rolegate.submit_batch('cancel', only_kind => 'x')",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.stop_batch(bigint)",
        "select rolegate.stop_batch(0)",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.batches(integer)",
        "select rolegate.batches()",
        VIEWERS,
        None,
    ),
    function(
        "rolegate.run_batch(integer)",
        "select rolegate.run_batch(1)",
        &["maintenance"],
        None,
    ),
    function(
        "rolegate.set_job_retention(interval,interval,interval,integer)",
        "select rolegate.set_job_retention()",
        OPERATOR,
        None,
    ),
    function(
        "rolegate.job_retention()",
        "select rolegate.job_retention()",
        VIEWERS,
        None,
    ),
];
