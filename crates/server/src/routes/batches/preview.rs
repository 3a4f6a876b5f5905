//! `POST /v1/{database}/jobs/batches/preview`: how many jobs a batch would look at.

use axum::body::Body;
use axum::response::Response;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::which::{self, Which};
use crate::problem::Problem;
use crate::routes::asked::{self, Asked};
use crate::routes::{admin, describe};

const PREVIEW: &str = "select pg_catalog.json_build_object(
        'jobs', p.jobs, 'at_least', p.at_least, 'newest', p.newest)
    from rolegate.preview_batch($1, $2, $3, $4, $5, $6, $7, $8::integer) p";

pub(crate) async fn handle(asked: Asked, body: Body) -> Response {
    asked.answer(preview(&asked, body).await)
}

async fn preview(asked: &Asked, body: Body) -> Result<Response, Problem> {
    let session = asked.session("rolegate.preview_batch").await?;
    let members = asked.members(body, &which::MEMBERS).await?;
    let which = Which::read(&members)?;
    let statement = which.bind(Statement::once(session.database.sql.of(PREVIEW)));
    let found = admin::run(&session, statement, Access::ReadOnly)
        .await
        .map_err(|problem| which.refusal(problem))?;
    asked::made(found)
}

pub(crate) fn describe() -> Value {
    let found = describe::object(&json!({
        "jobs": {"type": "integer", "minimum": 0},
        "at_least": {"type": "boolean", "description": "There are more; counting ends at 100,000."},
        "newest": {"type": "array", "maxItems": 10, "items": describe::int64(),
                   "description": "Ids of some of them."},
    }));
    json!({
        "operationId": "previewBatch",
        "summary": "Counts the jobs that a batch would look at now",
        "description": "For members of rolegate_operator. Changes nothing.",
        "parameters": [describe::database()],
        "requestBody": which::describe_body(false),
        "responses": describe::responses(
            &json!({"200": describe::answer("How many there are", &found)}),
            which::CODES,
        ),
    })
}
