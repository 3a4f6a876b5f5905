//! What jobs and queues look like in OpenAPI.

use serde_json::{Map, Value, json};

use super::STATES;
use crate::routes::describe::{int64, object, time, time_or_null};

/// What all workers together keep to; those of `key_` for each limit key.
pub(crate) const LIMITS: [&str; 6] = [
    "concurrency",
    "rate",
    "burst",
    "key_concurrency",
    "key_rate",
    "key_burst",
];

/// The schemas, by their names.
pub(crate) fn schemas() -> [(&'static str, Value); 4] {
    [
        ("Job", object(&job())),
        ("JobRow", object(&row())),
        ("DeadLetter", object(&dead_letter())),
        ("Queue", object(&queue())),
    ]
}

/// What every view of a job has.
fn common() -> Value {
    json!({
        "id": int64(),
        "kind": {"type": "string"},
        "queue": {"type": "string"},
        "state": {"enum": STATES},
        "priority": {"type": "integer", "minimum": 1, "maximum": 4},
        "attempt": {"type": "integer", "description": "Attempts that failed, and the one that runs."},
        "max_attempts": {"type": "integer"},
        "created_at": {
            "type": "string", "format": "date-time",
            "description": "When it was enqueued, or came back to its lane.",
        },
        "enqueued_by": {"type": "string", "description": "The role it runs as."},
    })
}

fn with(mut base: Value, more: &Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more.clone());
    }
    base
}

fn row() -> Value {
    let more = json!({
        "reason": {"type": ["string", "null"]},
        "dead_letter": {"type": "boolean"},
        "run_at": time_or_null(),
        "attempted_at": time_or_null(),
        "finalized_at": time_or_null(),
    });
    with(common(), &more)
}

fn job() -> Value {
    let more = json!({
        "args": {"description": "Any JSON."},
        "tags": {"type": "array", "items": {"type": "string"}},
        "metadata": {"type": "object"},
        "progress": {"type": ["object", "null"]},
        "output": {"description": "What a completed job has given back."},
        "error": {"description": "Why it ended badly, if it did."},
        "errors": {"type": "array", "description": "The last ten."},
        "deadline_seconds": {"type": ["number", "null"]},
        "trace": {"type": ["string", "null"]},
    });
    with(row(), &more)
}

fn dead_letter() -> Value {
    let more = json!({
        "dlq_reason": {"type": "string"},
        "dlq_at": time(),
        "error": {"description": "Why it failed."},
    });
    with(common(), &more)
}

fn queue() -> Value {
    let count = json!({"type": "integer", "minimum": 0});
    let seconds = json!({"type": "number", "minimum": 0});
    json!({
        "queue": {"type": "string"},
        "paused": {"type": "boolean"},
        "paused_at": time_or_null(),
        "paused_by": {"type": ["string", "null"]},
        "total_queued": count,
        "available": count,
        "blocked": {
            "type": "integer", "minimum": 0,
            "description": "Of those available, what waits for others of its key.",
        },
        "running": count,
        "scheduled": count,
        "retryable": count,
        "waiting_external": count,
        "dead_letters": count,
        "at_least": {
            "type": "array", "items": {"type": "string"},
            "description": "Counts of which there may be more: counting stops at 100,000.",
        },
        "lag_seconds": {"type": ["number", "null"], "description": "How long the first job has waited."},
        "limits": {"type": "object", "properties": limits(&json!({"type": "number"}))},
        "dead_letters_kept": {"type": "boolean"},
        "aging_seconds": seconds,
        "backoff_seconds": seconds,
        "max_backoff_seconds": seconds,
    })
}

/// Limits of a queue, each with this schema.
pub(crate) fn limits(schema: &Value) -> Value {
    LIMITS
        .iter()
        .map(|limit| ((*limit).to_owned(), schema.clone()))
        .collect::<Map<String, Value>>()
        .into()
}
