//! `GET /v1/{database}/jobs/{id}`: all there is to know of a job.

use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::{JOB, no_such_job};
use crate::problem::Problem;
use crate::routes::admin::{self, INT8};
use crate::routes::asked::{self, Asked};
use crate::routes::describe;

/// What it takes to see jobs.
pub(crate) const NEEDS: &str = "Looking at jobs needs membership of rolegate_producer, rolegate_viewer or \
     rolegate_operator.";

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(show(&asked).await)
}

async fn show(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.job").await?;
    asked.query.only(&[])?;
    let id = asked.job_id()?;
    let statement = Statement::once(session.database.sql.of(JOB)).param(INT8, Some(id.to_string()));
    let job = admin::run(&session, statement, Access::ReadOnly)
        .await
        .map_err(|problem| admin::needs(problem, NEEDS))?;
    asked::made(Some(job.ok_or_else(no_such_job)?))
}

pub(crate) fn describe() -> Value {
    json!({
        "operationId": "showJob",
        "summary": "All there is to know of a job",
        "description": "A job that is somebody else's is as one that is not there.",
        "parameters": [describe::database(), describe::job_id()],
        "responses": describe::responses(
            &json!({"200": describe::answer("The job", &describe::schema("Job"))}),
            &[ErrorCode::InvalidParams, ErrorCode::NotFound],
        ),
    })
}
