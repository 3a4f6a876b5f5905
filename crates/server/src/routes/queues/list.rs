//! `GET /v1/{database}/queues`: queues, how much is in them, and their settings.

use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::{LOOKING, read};
use crate::problem::Problem;
use crate::routes::asked::{self, Asked};
use crate::routes::{admin, describe};

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(list(&asked).await)
}

async fn list(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.queues").await?;
    asked.query.only(&[])?;
    let queues = admin::run(&session, read(&session, None), Access::ReadOnly)
        .await
        .map_err(|problem| admin::needs(problem, LOOKING))?;
    asked::made(queues)
}

pub(crate) fn describe() -> Value {
    let queues = describe::list(&describe::schema("Queue"));
    json!({
        "operationId": "listQueues",
        "summary": "Lists queues with what is in them",
        "description": "For viewers and operators. The jobs are counted when it is asked: to follow \
                        them, listen to `jobs/events`.",
        "parameters": [describe::database()],
        "responses": describe::responses(
            &json!({"200": describe::answer("The queues", &queues)}),
            &[ErrorCode::InvalidParams],
        ),
    })
}
