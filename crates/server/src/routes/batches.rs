//! `/v1/{database}/jobs/batches`: what operators do to many jobs at once. The maintenance does it.

pub(crate) mod list;
pub(crate) mod preview;
pub(crate) mod show;
pub(crate) mod stop;
pub(crate) mod submit;
mod which;

use rolegate_model::ErrorCode;
use serde_json::{Value, json};

use super::asked::{Asked, job_id};
use super::describe;
use super::jobs::STATES;
use crate::problem::Problem;

const CHANGING: &str = "Batches need membership of rolegate_operator.";
const LOOKING: &str =
    "Looking at batches needs membership of rolegate_viewer or rolegate_operator.";

/// Characters of a reason.
const MAX_REASON: usize = 500;
/// Batches that can be looked at.
const MAX_BATCHES: u16 = 1000;

fn no_such_batch() -> Problem {
    Problem::new(ErrorCode::NotFound)
        .message("There is no such batch.")
        .hint(
            "Batches are kept for 90 days after their end, and the newest 1,000 can be looked at.",
        )
}

/// The path's batch.
fn batch_id(asked: &Asked) -> Result<String, Problem> {
    let id = job_id(asked.part("id"));
    id.map(|id| id.to_string())
        .ok_or_else(|| Problem::at("id", "is no batch's id").hint("A whole number above zero."))
}

/// The schema of a batch.
pub(crate) fn schema() -> Value {
    let text_or_null = json!({"type": ["string", "null"]});
    let count = json!({"type": "integer", "minimum": 0});
    describe::object(&json!({
        "id": describe::int64(),
        "action": {"enum": which::ACTIONS},
        "filter": describe::object(&json!({
            "state": {"enum": STATES.iter().map(|state| json!(state)).chain([Value::Null]).collect::<Vec<_>>()},
            "queue": text_or_null,
            "kind": text_or_null,
            "tag": text_or_null,
            "dead_letters": {"type": "boolean"},
        })),
        "to_queue": text_or_null,
        "to_priority": {"type": ["integer", "null"], "minimum": 1, "maximum": 4},
        "reason": text_or_null,
        "state": {"enum": ["running", "done", "cancelled"]},
        "submitted_by": {"type": "string"},
        "submitted_at": describe::time(),
        "ended_at": describe::time_or_null(),
        "looked_at": count,
        "changed": count,
        "refused": {"type": "integer", "minimum": 0, "description": "Jobs that could not be changed."},
        "refusal": {"type": ["string", "null"], "description": "Why the last of them could not."},
    }))
}

fn id_parameter() -> Value {
    json!({"name": "id", "in": "path", "required": true, "description": "The batch.",
           "schema": {"type": "integer", "format": "int64", "minimum": 1}})
}
