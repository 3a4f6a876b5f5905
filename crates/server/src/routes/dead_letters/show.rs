//! `GET /v1/{database}/dlq/{id}`.

use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde::Deserialize;
use serde_json::{Value, json};

use super::no_such_letter;
use crate::problem::Problem;
use crate::routes::admin::{self, INT8};
use crate::routes::asked::{self, Asked};
use crate::routes::describe;
use crate::routes::jobs::{JOB, show};

/// What says of a job that it is one.
#[derive(Debug, Deserialize)]
struct Letter {
    dead_letter: bool,
}

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(letter(&asked).await)
}

async fn letter(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.job").await?;
    asked.query.only(&[])?;
    let id = asked.job_id()?;
    let statement = Statement::once(session.database.sql.of(JOB)).param(INT8, Some(id.to_string()));
    let job = admin::run(&session, statement, Access::ReadOnly)
        .await
        .map_err(|problem| admin::needs(problem, show::NEEDS))?
        .ok_or_else(no_such_letter)?;
    let read: Letter =
        serde_json::from_slice(&job).map_err(|_| Problem::new(ErrorCode::Internal))?;
    if !read.dead_letter {
        return Err(no_such_letter());
    }
    asked::made(Some(job))
}

pub(crate) fn describe() -> Value {
    json!({
        "operationId": "showDeadLetter",
        "summary": "All there is to know of a dead letter",
        "parameters": [describe::database(), describe::job_id()],
        "responses": describe::responses(
            &json!({"200": describe::answer("The job", &describe::schema("Job"))}),
            &[ErrorCode::InvalidParams, ErrorCode::NotFound],
        ),
    })
}
