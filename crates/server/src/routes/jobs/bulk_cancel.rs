//! `POST /v1/{database}/jobs/bulk-cancel`: several jobs in one transaction.

use axum::body::Body;
use axum::response::Response;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::{MAX_IDS, MAX_REASON, cancel, refusal};
use crate::problem::Problem;
use crate::routes::admin::{self, INT8_ARRAY, TEXT};
use crate::routes::asked::{self, Asked};
use crate::routes::describe;

pub(crate) async fn handle(asked: Asked, body: Body) -> Response {
    asked.answer(cancel_all(&asked, body).await)
}

async fn cancel_all(asked: &Asked, body: Body) -> Result<Response, Problem> {
    let session = asked.session("rolegate.cancel").await?;
    let members = asked.members(body, &["ids", "reason"]).await?;
    let ids = members.ids("ids", MAX_IDS)?;
    let sql = session.database.sql.of(include_str!("bulk_cancel.sql"));
    let statement = Statement::once(sql)
        .param(INT8_ARRAY, Some(array(&ids)))
        .param(TEXT, members.text("reason", MAX_REASON)?);
    let cancelled = admin::run(&session, statement, Access::ReadWrite)
        .await
        .map_err(|problem| refusal(problem, cancel::NEEDS))?;
    tracing::info!(
        request_id = %asked.context.id, asked = ids.len(),
        role = %session.caller.principal.role.name, "jobs_cancelled"
    );
    asked::made(cancelled)
}

/// As PostgreSQL writes an array of numbers.
pub(crate) fn array(ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("{{{}}}", ids.join(","))
}

/// The jobs that a request changed.
pub(crate) fn changed() -> Value {
    let changed = describe::object(&json!({"id": describe::int64(), "state": {"type": "string"}}));
    json!({"type": "array", "maxItems": MAX_IDS, "items": changed})
}

pub(crate) fn ids() -> Value {
    json!({"type": "array", "minItems": 1, "maxItems": MAX_IDS,
           "items": {"type": "integer", "format": "int64", "minimum": 1}})
}

pub(crate) fn describe() -> Value {
    let body = json!({
        "type": "object",
        "required": ["ids"],
        "additionalProperties": false,
        "properties": {
            "ids": ids(),
            "reason": {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_REASON},
        },
    });
    json!({
        "operationId": "cancelJobs",
        "summary": "Cancels several jobs in one transaction",
        "description": "Those that have ended, or are somebody else's, are left out of the answer.",
        "parameters": [describe::database()],
        "requestBody": describe::body(&body, true),
        "responses": describe::responses(
            &json!({"200": describe::answer("Those that were cancelled", &changed())}),
            describe::BULK_DECISIONS,
        ),
    })
}
