//! Names of metrics, and the endpoint that shows them.

use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Requests by surface, route and status.
pub const HTTP_REQUESTS: &str = "rolegate_http_requests_total";
/// Seconds from the head of a request to the head of its answer.
pub const HTTP_SECONDS: &str = "rolegate_http_request_duration_seconds";
/// Calls that reached the database, by outcome: `ok` or `failed`.
pub const CALLS: &str = "rolegate_calls_total";
/// Authentications by kind and outcome.
pub const AUTHENTICATIONS: &str = "rolegate_authentications_total";
/// Calls to callbacks, by action and outcome.
pub const CALLBACKS: &str = "rolegate_callbacks_total";
/// Queries that reached the database, by scope (`public`, `private`) and outcome.
pub const QUERIES: &str = "rolegate_queries_total";
/// Texts of queries that were found out about, by outcome: `public`, `private`, `refused`.
pub const ANALYSES: &str = "rolegate_query_analyses_total";
/// Answers for everybody, by outcome: `found`, `made`, `superseded`, `torn`, `unkept`, `unfollowed`.
pub const QUERY_CACHE: &str = "rolegate_query_cache_total";
/// Bytes of kept answers.
pub const QUERY_CACHE_BYTES: &str = "rolegate_query_cache_bytes";
/// Kept answers.
pub const QUERY_CACHE_ENTRIES: &str = "rolegate_query_cache_entries";
/// Event streams that are open.
pub const STREAMS: &str = "rolegate_event_streams";
/// Different live queries.
pub const LIVE_GROUPS: &str = "rolegate_live_queries";
/// Streams of live queries.
pub const LIVE_STREAMS: &str = "rolegate_live_query_streams";
/// Runs of live queries, by outcome: `ok` or `failed`.
pub const LIVE_RUNS: &str = "rolegate_live_query_runs_total";
/// Streams that had to begin anew, by reason.
pub const LIVE_RESETS: &str = "rolegate_live_query_resets_total";
/// Seconds from the first commit that a live query was told of to its rows.
pub const LIVE_DELAY: &str = "rolegate_live_query_delay_seconds";

/// Looks at the queues for those who follow them, by outcome: `counted`, `unchanged`, `failed`.
pub const JOB_LOOKS: &str = "rolegate_job_looks_total";
/// Seconds of those that counted.
pub const JOB_LOOK_SECONDS: &str = "rolegate_job_look_seconds";

const SECONDS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// Installs the recorder of this process.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .build_recorder();
    let handle = recorder.handle();
    // A second installation (tests with several servers in a process) keeps the first.
    let _ = metrics::set_global_recorder(recorder);
    describe_counter!(
        HTTP_REQUESTS,
        "Requests by surface, route, method and status"
    );
    describe_histogram!(
        HTTP_SECONDS,
        Unit::Seconds,
        "Time to the head of the answer"
    );
    describe_counter!(CALLS, "Calls that reached the database, by outcome");
    describe_counter!(QUERIES, "Queries that reached the database");
    describe_counter!(ANALYSES, "Texts of queries that were found out about");
    describe_counter!(QUERY_CACHE, "Answers for everybody, found or made");
    describe_gauge!(QUERY_CACHE_BYTES, Unit::Bytes, "Kept answers");
    describe_gauge!(QUERY_CACHE_ENTRIES, "Kept answers");
    describe_counter!(AUTHENTICATIONS, "Authentications by kind and outcome");
    describe_counter!(CALLBACKS, "Calls to callbacks by action and outcome");
    describe_gauge!(STREAMS, "Open event streams");
    describe_gauge!(LIVE_GROUPS, "Different live queries");
    describe_gauge!(LIVE_STREAMS, "Open streams of live queries");
    describe_counter!(LIVE_RUNS, "Runs of live queries, by outcome");
    describe_counter!(
        LIVE_RESETS,
        "Streams of live queries that had to begin anew, by reason"
    );
    describe_histogram!(
        LIVE_DELAY,
        Unit::Seconds,
        "Time from the first commit a live query was told of to its rows"
    );
    describe_counter!(JOB_LOOKS, "Looks at the queues for who follows them");
    describe_histogram!(
        JOB_LOOK_SECONDS,
        Unit::Seconds,
        "Time of looks that counted jobs"
    );
    describe_counter!(
        "rolegate_connections_opened_total",
        "Database connections opened"
    );
    describe_counter!(
        "rolegate_connect_failures_total",
        "Database connections refused or failed"
    );
    describe_counter!(
        "rolegate_session_disturbed_total",
        "Sessions given up because a call had left something behind"
    );
    describe_counter!(
        "rolegate_roles_revoked_total",
        "Roles whose facts changed while served"
    );
    describe_counter!(
        "rolegate_catalog_poll_failures_total",
        "Failed looks at the catalog"
    );
    describe_gauge!(
        "rolegate_pool_connections",
        "Database connections of callers"
    );
    describe_gauge!("rolegate_pool_idle", "Of these, without work");
    describe_gauge!("rolegate_pool_waiting", "Requests waiting for a connection");
    Ok(handle)
}

/// How often the recorder's histograms are drained.
pub const UPKEEP: Duration = Duration::from_secs(5);
