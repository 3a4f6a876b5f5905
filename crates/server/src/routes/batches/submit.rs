//! `POST /v1/{database}/jobs/batches`: a batch, for the maintenance to do.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::MAX_REASON;
use super::which::{self, Which};
use crate::problem::Problem;
use crate::routes::admin::{self, TEXT};
use crate::routes::asked::Asked;
use crate::routes::{describe, rounds, rpc};

const SUBMIT: &str = "select rolegate.submit_batch($1, $2, $3, $4, $5, $6, $7, $8::integer, $9)";

pub(crate) async fn handle(asked: Asked, body: Body) -> Response {
    asked.answer(submit(&asked, body).await)
}

async fn submit(asked: &Asked, body: Body) -> Result<Response, Problem> {
    let session = asked.session("rolegate.submit_batch").await?;
    let known: Vec<&str> = which::MEMBERS.into_iter().chain(["reason"]).collect();
    let members = asked.members(body, &known).await?;
    let which = Which::read(&members)?;
    let statement = which
        .bind(Statement::once(session.database.sql.of(SUBMIT)))
        .param(TEXT, members.text("reason", MAX_REASON)?);
    let id = admin::run(&session, statement, Access::ReadWrite)
        .await
        .map_err(|problem| which.refusal(problem))
        .and_then(rounds::number)?;
    tracing::info!(
        request_id = %asked.context.id, batch = id,
        role = %session.caller.principal.role.name, "batch_submitted"
    );
    let mut response = rpc::json(StatusCode::CREATED, json!({"id": id}).to_string().into());
    let place = format!("{}/{id}", asked.context.path.trim_end_matches('/'));
    let place = HeaderValue::from_str(&place).map_err(|_| Problem::new(ErrorCode::Internal))?;
    response.headers_mut().insert(header::LOCATION, place);
    Ok(response)
}

pub(crate) fn describe() -> Value {
    let made = json!({
        "description": "It was submitted",
        "headers": {"Location": {"schema": {"type": "string"}, "description": "Where it can be followed."}},
        "content": {"application/json": {
            "schema": describe::object(&json!({"id": describe::int64()})),
        }},
    });
    json!({
        "operationId": "submitBatch",
        "summary": "Cancels, retries or moves many jobs",
        "description": "For members of rolegate_operator. Jobs that are there now; the maintenance changes \
                        them, some in each transaction.",
        "parameters": [describe::database()],
        "requestBody": which::describe_body(true),
        "responses": describe::responses(&json!({"201": made}), which::CODES),
    })
}
