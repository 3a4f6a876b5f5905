//! `POST /v1/{database}/jobs/{id}/cancel`.

use axum::body::Body;
use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::{JOB, MAX_REASON, no_such_job, refusal};
use crate::problem::Problem;
use crate::routes::admin::{self, INT8, TEXT};
use crate::routes::asked::{self, Asked};
use crate::routes::describe;

/// What it takes.
pub(crate) const NEEDS: &str = "Cancelling needs membership of rolegate_producer, for one's own jobs, or of rolegate_operator.";

pub(crate) async fn handle(asked: Asked, body: Body) -> Response {
    asked.answer(cancel(&asked, body).await)
}

async fn cancel(asked: &Asked, body: Body) -> Result<Response, Problem> {
    let session = asked.session("rolegate.cancel").await?;
    let id = asked.job_id()?.to_string();
    let reason = asked
        .members(body, &["reason"])
        .await?
        .text("reason", MAX_REASON)?;
    let sql = &session.database.sql;
    let cancel = Statement::once(sql.of("select rolegate.cancel($1, $2)"))
        .param(INT8, Some(id.clone()))
        .param(TEXT, reason);
    let job = Statement::once(sql.of(JOB)).param(INT8, Some(id.clone()));
    let [cancelled, job] = admin::run_all(&session, [cancel, job], Access::ReadWrite)
        .await
        .map_err(|problem| refusal(problem, NEEDS))?;
    let job = job.ok_or_else(no_such_job)?;
    if cancelled.as_deref() != Some(b"t") {
        return Err(Problem::new(ErrorCode::JobConflict)
            .message("The job has ended already, or is not yours to cancel."));
    }
    tracing::info!(
        request_id = %asked.context.id, job = id,
        role = %session.caller.principal.role.name, "job_cancelled"
    );
    asked::made(Some(job))
}

pub(crate) fn describe() -> Value {
    let body = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {"reason": {
            "type": ["string", "null"], "minLength": 1, "maxLength": MAX_REASON,
            "description": "Kept with the job.",
        }},
    });
    json!({
        "operationId": "cancelJob",
        "summary": "Cancels a job that has not ended",
        "description": "One's own, or any as a member of rolegate_operator. If it runs, its worker is \
                        told, and what it still does has no effect.",
        "parameters": [describe::database(), describe::job_id()],
        "requestBody": describe::body(&body, false),
        "responses": describe::responses(
            &json!({"200": describe::answer("The job", &describe::schema("Job"))}),
            describe::DECISIONS,
        ),
    })
}
