//! What the stream counts.

use std::sync::Arc;

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::status::Status;

/// Says what the metrics mean. Once, before there is a stream.
pub fn describe() {
    describe_gauge!(
        "rolegate_change_stream_status",
        "1 for how this process stands to the change stream"
    );
    describe_counter!(
        "rolegate_change_stream_commits_total",
        "Commits that were told"
    );
    describe_counter!(
        "rolegate_change_stream_epochs_total",
        "New epochs, by why they began"
    );
    describe_counter!(
        "rolegate_change_stream_interruptions_total",
        "Connections of the change stream that were lost"
    );
    describe_counter!(
        "rolegate_change_stream_lagged_total",
        "Subscribers that were too slow and lost continuity"
    );
    describe_gauge!(
        "rolegate_change_stream_lag_bytes",
        Unit::Bytes,
        "What the server has written and the stream has not come to"
    );
    describe_gauge!(
        "rolegate_change_stream_retained_bytes",
        Unit::Bytes,
        "What the slot makes the server keep"
    );
    describe_gauge!(
        "rolegate_change_stream_room_bytes",
        Unit::Bytes,
        "What may still be written before the slot is lost; absent without a limit"
    );
    describe_gauge!(
        "rolegate_change_relay_subscribers",
        "Processes that follow through the relay of this one"
    );
    describe_counter!(
        "rolegate_change_relay_refused_total",
        "Connections that the relay turned away, by why"
    );
    describe_counter!(
        "rolegate_change_relay_connections_total",
        "Attempts of this process to follow through a relay, by what came of them"
    );
    describe_gauge!(
        "rolegate_change_relay_behind_commits",
        "Commits that the relay had to send to this process when it looked last"
    );
}

const WORDS: [&str; 8] = [
    "idle",
    "standing_by",
    "unready",
    "starting",
    "following",
    "interrupted",
    "relayed",
    "unrelayed",
];

pub(crate) fn status(database: &Arc<str>, status: Status) {
    for word in WORDS {
        let is = f64::from(u8::from(word == status.word()));
        gauge!("rolegate_change_stream_status", "database" => Arc::clone(database), "status" => word)
            .set(is);
    }
}

pub(crate) fn commit(database: &Arc<str>) {
    counter!("rolegate_change_stream_commits_total", "database" => Arc::clone(database))
        .increment(1);
}

pub(crate) fn epoch(database: &Arc<str>, why: &'static str) {
    counter!(
        "rolegate_change_stream_epochs_total", "database" => Arc::clone(database), "why" => why
    )
    .increment(1);
}

pub(crate) fn interruption(database: &Arc<str>) {
    counter!("rolegate_change_stream_interruptions_total", "database" => Arc::clone(database))
        .increment(1);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge of bytes needs no last digit"
)]
pub(crate) fn lag(database: &Arc<str>, bytes: u64) {
    gauge!("rolegate_change_stream_lag_bytes", "database" => Arc::clone(database))
        .set(bytes as f64);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge of bytes needs no last digit"
)]
pub(crate) fn slot(database: &Arc<str>, retained: i64, room: Option<i64>) {
    let set = |name: &'static str, value: f64| {
        gauge!(name, "database" => Arc::clone(database)).set(value);
    };
    set(
        "rolegate_change_stream_retained_bytes",
        retained.max(0) as f64,
    );
    if let Some(room) = room {
        set("rolegate_change_stream_room_bytes", room as f64);
    }
}

pub(crate) fn relay_subscribers(database: &Arc<str>, change: f64) {
    gauge!("rolegate_change_relay_subscribers", "database" => Arc::clone(database))
        .increment(change);
}

pub(crate) fn relay_refused(why: &'static str) {
    counter!("rolegate_change_relay_refused_total", "why" => why).increment(1);
}

pub(crate) fn relay_connection(database: &Arc<str>, outcome: &'static str) {
    counter!(
        "rolegate_change_relay_connections_total",
        "database" => Arc::clone(database), "outcome" => outcome
    )
    .increment(1);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge of commits needs no last digit"
)]
pub(crate) fn relay_behind(database: &Arc<str>, commits: u64) {
    gauge!("rolegate_change_relay_behind_commits", "database" => Arc::clone(database))
        .set(commits as f64);
}
