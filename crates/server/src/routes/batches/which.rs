//! What a batch does, and to which jobs.

use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use serde_json::{Value, json};

use super::{CHANGING, MAX_REASON};
use crate::problem::Problem;
use crate::routes::admin::{BOOL, INT8, TEXT};
use crate::routes::describe;
use crate::routes::jobs::{MAX_NAME, MAX_TAG, STATES, refusal, unknown_queue};
use crate::routes::members::Members;

pub(super) const ACTIONS: [&str; 3] = ["cancel", "retry", "move"];

/// As `rolegate.submit_batch` takes it.
#[derive(Debug)]
pub(super) struct Which {
    action: String,
    state: Option<String>,
    queue: Option<String>,
    kind: Option<String>,
    tag: Option<String>,
    dead_letters: bool,
    to_queue: Option<String>,
    to_priority: Option<i64>,
}

/// Its members.
pub(super) const MEMBERS: [&str; 8] = [
    "action",
    "state",
    "queue",
    "kind",
    "tag",
    "dead_letters",
    "to_queue",
    "to_priority",
];

impl Which {
    /// Reads it. The database has the same rules; these say which member it is.
    pub(super) fn read(members: &Members) -> Result<Self, Problem> {
        let which = Self {
            action: members.choice("action", &ACTIONS)?.ok_or_else(|| {
                Problem::at("action", "is missing")
                    .hint(format!("There are: {}.", ACTIONS.join(", ")))
            })?,
            state: members.choice("state", &STATES)?,
            queue: members.text("queue", MAX_NAME)?,
            kind: members.text("kind", MAX_NAME)?,
            tag: members.text("tag", MAX_TAG)?,
            dead_letters: members.flag("dead_letters")?.unwrap_or_default(),
            to_queue: members.text("to_queue", MAX_NAME)?,
            to_priority: members.number("to_priority", 1..=4)?,
        };
        which.check().map(|()| which)
    }

    fn check(&self) -> Result<(), Problem> {
        let state = self.state.as_deref();
        let moves = self.to_queue.is_some() || self.to_priority.is_some();
        let wrong = match &*self.action {
            "retry"
                if !self.dead_letters
                    && !matches!(state, Some("failed" | "cancelled" | "waiting_external")) =>
            {
                (
                    "state",
                    "does not fit a retry",
                    "failed, cancelled or waiting_external; or `\"dead_letters\": true`.",
                )
            }
            "cancel" | "move" if self.dead_letters => (
                "dead_letters",
                "can only be retried",
                "A retry may put them in another queue.",
            ),
            "cancel" if matches!(state, Some("completed" | "failed" | "cancelled")) => (
                "state",
                "has ended already",
                "What has not ended is cancelled.",
            ),
            "cancel" if moves => (
                "to_queue",
                "or `to_priority` is there, and nothing is moved",
                "Leave them out.",
            ),
            "move" if !matches!(state, Some("available" | "scheduled" | "retryable")) => (
                "state",
                "does not fit a move",
                "available, scheduled or retryable.",
            ),
            "move" if !moves => (
                "to_queue",
                "is missing, and so is `to_priority`",
                "One of them says where jobs go.",
            ),
            // By name: nobody changes everything by leaving something out.
            _ if state.is_none()
                && self.queue.is_none()
                && self.kind.is_none()
                && self.tag.is_none()
                && !self.dead_letters =>
            {
                (
                    "queue",
                    "is missing, and so is any other filter",
                    "Name `state`, `queue`, `kind` or `tag`.",
                )
            }
            _ => return Ok(()),
        };
        let (path, what, hint) = wrong;
        Err(Problem::at(path, what).hint(hint))
    }

    /// The first eight parameters.
    pub(super) fn bind(&self, statement: Statement) -> Statement {
        let priority = self.to_priority.map(|priority| priority.to_string());
        statement
            .param(TEXT, Some(self.action.clone()))
            .param(TEXT, self.state.clone())
            .param(TEXT, self.queue.clone())
            .param(TEXT, self.kind.clone())
            .param(TEXT, self.tag.clone())
            .param(BOOL, Some(self.dead_letters.to_string()))
            .param(TEXT, self.to_queue.clone())
            .param(INT8, priority)
    }

    /// What the database says about it.
    pub(super) fn refusal(&self, problem: Problem) -> Problem {
        match problem.sqlstate.as_deref() {
            Some("42704") if self.queue.is_none() => {
                Problem::at("to_queue", "is no queue").hint("`GET queues` lists them.")
            }
            Some("42704") => unknown_queue(),
            _ => refusal(problem, CHANGING),
        }
    }
}

/// The body in OpenAPI.
pub(super) fn describe_body(reason: bool) -> Value {
    let name = json!({"type": ["string", "null"], "minLength": 1, "maxLength": MAX_NAME});
    let states: Vec<Value> = STATES.iter().map(|state| json!(state)).collect();
    let states: Vec<Value> = states.into_iter().chain([Value::Null]).collect();
    let mut body = json!({
        "type": "object",
        "required": ["action"],
        "additionalProperties": false,
        "properties": {
            "action": {"enum": ACTIONS},
            "state": {"enum": states, "description": "Needed to move, and to retry what is no dead letter."},
            "queue": name,
            "kind": name,
            "tag": {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_TAG},
            "dead_letters": {"type": ["boolean", "null"], "description": "Only dead letters, to retry."},
            "to_queue": name,
            "to_priority": {"type": ["integer", "null"], "minimum": 1, "maximum": 4},
        },
    });
    if reason {
        body["properties"]["reason"] =
            json!({"type": ["string", "null"], "minLength": 1, "maxLength": MAX_REASON});
    }
    describe::body(&body, true)
}

/// What may be wrong with it.
pub(super) const CODES: &[ErrorCode] = &[
    ErrorCode::InvalidParams,
    ErrorCode::BodyTooLarge,
    ErrorCode::UnsupportedMediaType,
];
