//! `GET /v1/{database}/workers`: processes that claim, and how many jobs each runs.

use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::admin;
use super::asked::{self, Asked};
use super::describe;
use crate::problem::Problem;

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(list(&asked).await)
}

async fn list(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.workers").await?;
    asked.query.only(&[])?;
    let statement = Statement::once(session.database.sql.of(include_str!("workers.sql")));
    let workers = admin::run(&session, statement, Access::ReadOnly)
        .await
        .map_err(|problem| {
            admin::needs(
                problem,
                "Looking at workers needs membership of rolegate_viewer or rolegate_operator.",
            )
        })?;
    asked::made(workers)
}

pub(crate) fn describe() -> Value {
    let worker = describe::object(&json!({
        "id": describe::int64(),
        "name": {"type": "string"},
        "version": {"type": "string"},
        "queues": {"type": "array", "items": {"type": "string"}},
        "started_at": describe::time(),
        "last_seen_at": describe::time_or_null(),
        "running": {"type": "integer", "minimum": 0},
        "oldest_attempted_at": describe::time_or_null(),
    }));
    json!({
        "operationId": "listWorkers",
        "summary": "Lists the processes that claim jobs",
        "description": "For viewers and operators. One that runs nothing gives no sign of life.",
        "parameters": [describe::database()],
        "responses": describe::responses(
            &json!({"200": describe::answer("The workers", &describe::list(&worker))}),
            &[ErrorCode::InvalidParams],
        ),
    })
}
