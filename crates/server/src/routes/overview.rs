//! `GET /v1/{database}/stats`: all queues in one look.

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
    asked.answer(overview(&asked).await)
}

async fn overview(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.queues").await?;
    asked.query.only(&[])?;
    let statement = Statement::once(session.database.sql.of(include_str!("overview.sql")));
    let stats = admin::run(&session, statement, Access::ReadOnly)
        .await
        .map_err(|problem| {
            admin::needs(
                problem,
                "The overview needs membership of rolegate_viewer or rolegate_operator.",
            )
        })?;
    asked::made(stats)
}

pub(crate) fn describe() -> Value {
    let count = json!({"type": "integer", "minimum": 0});
    let maintenance = describe::object(&json!({
        "leads": {"type": "boolean", "description": "False: nobody leads the maintenance now."},
        "name": {"type": ["string", "null"]},
        "since": describe::time_or_null(),
        "term": describe::int64(),
    }));
    let stats = describe::object(&json!({
        "available": count,
        "running": count,
        "scheduled": count,
        "retryable": count,
        "waiting_external": count,
        "dead_letters": count,
        "at_least": {"type": "boolean", "description": "Some counts may be higher."},
        "lag_seconds": {"type": ["number", "null"], "description": "How long the first job has waited."},
        "queues": count,
        "queues_paused": count,
        "workers": count,
        "maintenance": maintenance,
    }));
    json!({
        "operationId": "stats",
        "summary": "All queues in one look",
        "description": "For viewers and operators. What has ended is not counted: rates are in the \
                        metrics.",
        "parameters": [describe::database()],
        "responses": describe::responses(
            &json!({"200": describe::answer("The counts", &stats)}),
            &[ErrorCode::InvalidParams],
        ),
    })
}
