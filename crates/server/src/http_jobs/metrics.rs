//! Names of the metrics of requests to functions, and where they are counted. Kinds and hosts are
//! those of the configuration.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use rolegate_outbound::{Origin, Why};

/// Requests by kind and answer.
const REQUESTS: &str = "rolegate_function_requests_total";
/// Seconds up to the end of the answer, by kind.
const SECONDS: &str = "rolegate_function_request_seconds";
/// Attempts that were put off without a request, by host and reason.
const PUT_OFF: &str = "rolegate_function_requests_put_off_total";
/// 1 while a host is taken to be down.
const DOWN: &str = "rolegate_function_host_down";

/// Describes them to the recorder of this process.
pub fn describe() {
    describe_counter!(REQUESTS, "Requests to functions by kind and answer");
    describe_histogram!(
        SECONDS,
        Unit::Seconds,
        "Time of a request to a function, by kind"
    );
    describe_counter!(PUT_OFF, "Attempts put off, by host and reason");
    describe_gauge!(DOWN, "Whether a host is taken to be down");
}

pub(super) fn answered(kind: &str, answer: &'static str, took: Duration) {
    counter!(REQUESTS, "kind" => kind.to_owned(), "answer" => answer).increment(1);
    histogram!(SECONDS, "kind" => kind.to_owned()).record(took);
}

pub(super) fn put_off(host: &Origin, why: Why) {
    let reason = match why {
        Why::Busy => "busy",
        Why::Down => "down",
    };
    counter!(PUT_OFF, "host" => host.to_string(), "reason" => reason).increment(1);
}

pub(super) fn down(host: &Origin, is_down: bool) {
    gauge!(DOWN, "host" => host.to_string()).set(if is_down { 1.0 } else { 0.0 });
}
