//! `POST /v1/{database}/jobs/bulk-retry`: several jobs in one transaction.

use axum::body::Body;
use axum::response::Response;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::bulk_cancel::{array, changed, ids};
use super::{MAX_IDS, refusal, retry};
use crate::problem::Problem;
use crate::routes::admin::{self, INT8_ARRAY};
use crate::routes::asked::{self, Asked};
use crate::routes::describe;

pub(crate) async fn handle(asked: Asked, body: Body) -> Response {
    asked.answer(retry_all(&asked, body).await)
}

async fn retry_all(asked: &Asked, body: Body) -> Result<Response, Problem> {
    let session = asked.session("rolegate.retry").await?;
    let ids = asked.members(body, &["ids"]).await?.ids("ids", MAX_IDS)?;
    let sql = session.database.sql.of(include_str!("bulk_retry.sql"));
    let statement = Statement::once(sql).param(INT8_ARRAY, Some(array(&ids)));
    let retried = admin::run(&session, statement, Access::ReadWrite)
        .await
        .map_err(|problem| refusal(problem, retry::NEEDS))?;
    tracing::info!(
        request_id = %asked.context.id, asked = ids.len(),
        role = %session.caller.principal.role.name, "jobs_retried"
    );
    asked::made(retried)
}

pub(crate) fn describe() -> Value {
    let body = json!({
        "type": "object",
        "required": ["ids"],
        "additionalProperties": false,
        "properties": {"ids": ids()},
    });
    json!({
        "operationId": "retryJobs",
        "summary": "Runs several jobs again that failed, were cancelled or wait for a callback, in one transaction",
        "description": "For members of rolegate_operator. Others are left out of the answer.",
        "parameters": [describe::database()],
        "requestBody": describe::body(&body, true),
        "responses": describe::responses(
            &json!({"200": describe::answer("Those that were retried", &changed())}),
            describe::BULK_DECISIONS,
        ),
    })
}
