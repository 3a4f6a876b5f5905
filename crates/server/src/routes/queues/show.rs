//! `GET /v1/{database}/queues/{queue}`.

use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::{LOOKING, only, parameters, read};
use crate::problem::Problem;
use crate::routes::asked::{self, Asked};
use crate::routes::{admin, describe};

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(show(&asked).await)
}

async fn show(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.queues").await?;
    asked.query.only(&[])?;
    let statement = read(&session, Some(asked.name("queue")?));
    let queues = admin::run(&session, statement, Access::ReadOnly)
        .await
        .map_err(|problem| admin::needs(problem, LOOKING))?;
    asked::made(Some(only(queues)?))
}

pub(crate) fn describe() -> Value {
    json!({
        "operationId": "showQueue",
        "summary": "One queue with what is in it",
        "parameters": parameters(),
        "responses": describe::responses(
            &json!({"200": describe::answer("The queue", &describe::schema("Queue"))}),
            &[ErrorCode::InvalidParams, ErrorCode::NotFound],
        ),
    })
}
