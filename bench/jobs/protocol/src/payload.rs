//! The job's arguments: a JSON object of exactly as many bytes as asked for.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Microseconds since 1970.
pub fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Seconds since 1970, as the lines of JSON have it.
#[allow(clippy::cast_precision_loss)]
pub fn now() -> f64 {
    now_us() as f64 / 1e6
}

/// `seq` says which one it is, `t_us` when it was made.
pub fn payload(seq: usize, bytes: usize) -> Value {
    let mut value = json!({ "seq": seq, "t_us": now_us(), "pad": "" });
    let missing = bytes.saturating_sub(value.to_string().len());
    value["pad"] = Value::String("x".repeat(missing));
    value
}
