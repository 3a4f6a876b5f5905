//! `/v1/{database}/queues`: queues, by viewers and operators.

pub(crate) mod change;
pub(crate) mod drain;
pub(crate) mod list;
pub(crate) mod make;
pub(crate) mod pause;
pub(crate) mod resume;
pub(crate) mod show;

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use serde_json::{Value, json};

use super::admin::TEXT;
use super::{describe, rpc};
use crate::call::Session;
use crate::problem::Problem;

/// Queues as the database says them: `$1` is the name of one, or NULL for all.
pub(crate) const QUEUES: &str = include_str!("queues/queues.sql");

const LOOKING: &str = "Looking at queues needs membership of rolegate_viewer or rolegate_operator.";
const CHANGING: &str = "Changing a queue needs membership of rolegate_operator.";

/// The statement that reads one queue, or all.
fn read(session: &Session, name: Option<String>) -> Statement {
    Statement::once(session.database.sql.of(QUEUES)).param(TEXT, name)
}

/// The only queue of a list.
fn only(queues: Option<Bytes>) -> Result<Bytes, Problem> {
    let queues = queues.ok_or_else(|| Problem::new(ErrorCode::Internal))?;
    let [queue]: [&serde_json::value::RawValue; 1] =
        serde_json::from_slice(&queues).map_err(|_| no_such_queue())?;
    Ok(Bytes::copy_from_slice(queue.get().as_bytes()))
}

fn no_such_queue() -> Problem {
    Problem::new(ErrorCode::NotFound)
        .message("There is no such queue.")
        .hint("`PUT` makes it.")
}

/// What the database says about a change of a queue.
fn refusal(problem: Problem) -> Problem {
    match problem.sqlstate.as_deref() {
        Some("42704") => no_such_queue(),
        _ => super::jobs::refusal(problem, CHANGING),
    }
}

/// `{"ok": true}`, and whether anything is different now.
fn done(changed: Option<&[u8]>) -> Response {
    let body = json!({"ok": true, "changed": changed == Some(b"t")});
    rpc::json(StatusCode::OK, body.to_string().into())
}

fn describe_done(description: &str) -> Value {
    let done = describe::object(&json!({
        "ok": {"const": true},
        "changed": {"type": "boolean", "description": "False if it was so before."},
    }));
    describe::answer(description, &done)
}

fn parameters() -> Value {
    json!([
        describe::database(),
        describe::name("queue", "The queue's name.")
    ])
}
