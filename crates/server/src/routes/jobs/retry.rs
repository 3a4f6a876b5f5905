//! `POST /v1/{database}/jobs/{id}/retry`, and of a dead letter.

use axum::body::Body;
use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::{JOB, MAX_NAME, no_such_job, refusal};
use crate::problem::Problem;
use crate::routes::admin::{self, INT8, JSONB, TEXT, TIMESTAMPTZ};
use crate::routes::asked::{self, Asked};
use crate::routes::describe;

/// What it takes.
pub(crate) const NEEDS: &str = "Retrying needs membership of rolegate_operator.";

const MEMBERS: [&str; 4] = ["queue", "priority", "run_at", "args"];

pub(crate) async fn handle(asked: Asked, body: Body) -> Response {
    let sql = "select rolegate.retry($1, $2, $3::pg_catalog.int4, $4, $5)";
    asked.answer(retry(&asked, body, sql).await)
}

/// Runs the statement that retries, and answers with the job.
pub(crate) async fn retry(asked: &Asked, body: Body, sql: &str) -> Result<Response, Problem> {
    let session = asked.session("rolegate.retry").await?;
    let id = asked.job_id()?.to_string();
    let limit = asked.app.config().max_body_bytes;
    let members = asked.larger_members(body, &MEMBERS, limit).await?;
    let engine = &session.database.sql;
    let priority = members.number("priority", 1..=4)?;
    let retry = Statement::once(engine.of(sql))
        .param(INT8, Some(id.clone()))
        .param(TEXT, members.text("queue", MAX_NAME)?)
        .param(INT8, priority.map(|priority| priority.to_string()))
        .param(TIMESTAMPTZ, members.time("run_at")?)
        .param(JSONB, members.json("args")?);
    let job = Statement::once(engine.of(JOB)).param(INT8, Some(id.clone()));
    let [retried, job] = admin::run_all(&session, [retry, job], Access::ReadWrite)
        .await
        .map_err(|problem| refusal(problem, NEEDS))?;
    let job = job.ok_or_else(no_such_job)?;
    if retried.as_deref() != Some(b"t") {
        return Err(Problem::new(ErrorCode::JobConflict)
            .message("The job has not failed, was not cancelled and waits for no callback; or is no dead letter."));
    }
    tracing::info!(
        request_id = %asked.context.id, job = id,
        role = %session.caller.principal.role.name, "job_retried"
    );
    asked::made(Some(job))
}

/// What may be changed.
pub(crate) fn changes() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "queue": {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_NAME},
            "priority": {"type": ["integer", "null"], "minimum": 1, "maximum": 4},
            "run_at": describe::time_or_null(),
            "args": {"description": "Other arguments; null keeps those it has."},
        },
    })
}

pub(crate) fn describe() -> Value {
    json!({
        "operationId": "retryJob",
        "summary": "Runs a job again that failed, was cancelled or waits for a callback",
        "description": "For members of rolegate_operator. It has all its attempts again, and runs for \
                        whoever enqueued it. What is left out stays as it was.",
        "parameters": [describe::database(), describe::job_id()],
        "requestBody": describe::body(&changes(), false),
        "responses": describe::responses(
            &json!({"200": describe::answer("The job", &describe::schema("Job"))}),
            describe::DECISIONS,
        ),
    })
}
