//! `GET /v1/{database}/cron`.

use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use crate::problem::Problem;
use crate::routes::asked::{self, Asked};
use crate::routes::{admin, describe};

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(list(&asked).await)
}

async fn list(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.list_crons").await?;
    asked.query.only(&[])?;
    let statement = Statement::once(session.database.sql.of(include_str!("list.sql")));
    let entries = admin::run(&session, statement, Access::ReadOnly)
        .await
        .map_err(|problem| {
            admin::needs(
                problem,
                "Looking at cron entries needs membership of rolegate_viewer or rolegate_operator.",
            )
        })?;
    asked::made(entries)
}

pub(crate) fn describe() -> Value {
    let text_or_null = json!({"type": ["string", "null"]});
    let entry = describe::object(&json!({
        "name": {"type": "string"},
        "cron_expr": {"type": "string"},
        "timezone": {"type": "string"},
        "kind": {"type": "string"},
        "args": {"description": "Any JSON."},
        "queue": {"type": "string"},
        "priority": {"type": "integer", "minimum": 1, "maximum": 4},
        "max_attempts": {"type": "integer"},
        "runs_as": {"type": "string", "description": "The role its jobs run as."},
        "missed_fire_policy": {"enum": ["coalesce", "catch_up"]},
        "only_one": {"type": "boolean"},
        "source": {"enum": ["code", "sql"]},
        "declared_in": {
            "type": ["string", "null"],
            "description": "The list it is declared in, which is applied as a whole.",
        },
        "paused_at": describe::time_or_null(),
        "paused_by": text_or_null,
        "last_enqueued_at": describe::time_or_null(),
        "last_job": {"type": ["integer", "null"], "format": "int64"},
        "next_fire_at": describe::time_or_null(),
        "problem": text_or_null,
    }));
    json!({
        "operationId": "listCron",
        "summary": "Lists cron entries",
        "description": "For viewers and operators.",
        "parameters": [describe::database()],
        "responses": describe::responses(
            &json!({"200": describe::answer("The entries", &describe::list(&entry))}),
            &[ErrorCode::InvalidParams],
        ),
    })
}
