//! `GET /v1/{database}/dlq/depth`: how many there are.

use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use crate::problem::Problem;
use crate::routes::asked::{self, Asked};
use crate::routes::{admin, describe};

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(depth(&asked).await)
}

async fn depth(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.queues").await?;
    asked.query.only(&[])?;
    let statement = Statement::once(session.database.sql.of(include_str!("depth.sql")));
    let depth = admin::run(&session, statement, Access::ReadOnly)
        .await
        .map_err(|problem| {
            admin::needs(
                problem,
                "Counting needs membership of rolegate_viewer or rolegate_operator.",
            )
        })?;
    asked::made(depth)
}

pub(crate) fn describe() -> Value {
    let count = json!({"type": "integer", "minimum": 0});
    let by_queue = describe::object(&json!({"queue": {"type": "string"}, "count": count}));
    let depth = describe::object(&json!({
        "total": count,
        "by_queue": describe::list(&by_queue),
        "at_least": {
            "type": "boolean",
            "description": "There may be more: counting stops at 100,000 for a priority of a queue.",
        },
    }));
    json!({
        "operationId": "countDeadLetters",
        "summary": "How many dead letters there are",
        "description": "For viewers and operators. Queues without any are left out.",
        "parameters": [describe::database()],
        "responses": describe::responses(
            &json!({"200": describe::answer("The counts", &depth)}),
            &[ErrorCode::InvalidParams],
        ),
    })
}
