//! `POST /v1/{database}/dlq/{id}/retry`.

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use crate::routes::asked::Asked;
use crate::routes::describe;
use crate::routes::jobs::retry;

/// Not what was cancelled, or failed in a queue that keeps nothing.
const SQL: &str = "\
select exists (select from rolegate.job($1) j where j.dead_letter)
    and rolegate.retry($1, $2, $3::pg_catalog.int4, $4, $5)";

pub(crate) async fn handle(asked: Asked, body: Body) -> Response {
    asked.answer(retry::retry(&asked, body, SQL).await)
}

pub(crate) fn describe() -> Value {
    json!({
        "operationId": "retryDeadLetter",
        "summary": "Runs a dead letter again",
        "description": "For members of rolegate_operator. It has all its attempts again, and runs for \
                        whoever enqueued it. What is left out stays as it was.",
        "parameters": [describe::database(), describe::job_id()],
        "requestBody": describe::body(&retry::changes(), false),
        "responses": describe::responses(
            &json!({"200": describe::answer("The job", &describe::schema("Job"))}),
            describe::DECISIONS,
        ),
    })
}
