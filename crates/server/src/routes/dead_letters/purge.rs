//! `DELETE /v1/{database}/dlq/{id}`: forgets a dead letter.

use axum::response::Response;
use http::StatusCode;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::bulk_purge::NEEDS;
use super::{bulk, no_such_letter};
use crate::problem::Problem;
use crate::routes::admin::{self, INT8};
use crate::routes::asked::Asked;
use crate::routes::{describe, rpc};

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(purge(&asked).await)
}

async fn purge(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.purge_dead_letter").await?;
    let id = asked.job_id()?.to_string();
    let sql = session
        .database
        .sql
        .of("select rolegate.purge_dead_letter($1)");
    let statement = Statement::once(sql).param(INT8, Some(id.clone()));
    let purged = admin::run(&session, statement, Access::ReadWrite)
        .await
        .map_err(|problem| admin::needs(problem, NEEDS))?;
    if purged.as_deref() != Some(b"t") {
        return Err(no_such_letter());
    }
    tracing::info!(
        request_id = %asked.context.id, job = id,
        role = %session.caller.principal.role.name, "dead_letter_purged"
    );
    let body = json!({"count": 1, "complete": true});
    Ok(rpc::json(StatusCode::OK, body.to_string().into()))
}

pub(crate) fn describe() -> Value {
    json!({
        "operationId": "purgeDeadLetter",
        "summary": "Forgets a dead letter",
        "description": "For members of rolegate_operator.",
        "parameters": [describe::database(), describe::job_id()],
        "responses": describe::responses(
            &json!({"200": bulk::describe_counted("It is forgotten")}),
            &[ErrorCode::InvalidParams, ErrorCode::NotFound],
        ),
    })
}
