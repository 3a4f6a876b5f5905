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
}

const WORDS: [&str; 6] = [
    "idle",
    "standing_by",
    "unready",
    "starting",
    "following",
    "interrupted",
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
pub(crate) fn slot(database: &Arc<str>, lag: u64, retained: i64, room: Option<i64>) {
    let set = |name: &'static str, value: f64| {
        gauge!(name, "database" => Arc::clone(database)).set(value);
    };
    set("rolegate_change_stream_lag_bytes", lag as f64);
    set(
        "rolegate_change_stream_retained_bytes",
        retained.max(0) as f64,
    );
    if let Some(room) = room {
        set("rolegate_change_stream_room_bytes", room as f64);
    }
}
