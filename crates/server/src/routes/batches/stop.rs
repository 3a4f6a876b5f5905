//! `POST /v1/{database}/jobs/batches/{id}/stop`: ends a batch where it is.

use axum::response::Response;
use http::StatusCode;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::{CHANGING, batch_id, id_parameter};
use crate::problem::Problem;
use crate::routes::admin::{self, INT8};
use crate::routes::asked::Asked;
use crate::routes::{describe, rpc};

const STOP: &str = "select rolegate.stop_batch($1)";

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(stop(&asked).await)
}

async fn stop(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.stop_batch").await?;
    let id = batch_id(asked)?;
    let sql = session.database.sql.of(STOP);
    let statement = Statement::once(sql).param(INT8, Some(id.clone()));
    let stopped = admin::run(&session, statement, Access::ReadWrite)
        .await
        .map_err(|problem| admin::needs(problem, CHANGING))?;
    if stopped.as_deref() != Some(b"t") {
        return Err(Problem::new(ErrorCode::JobConflict)
            .message("The batch has ended, or is not there.")
            .hint("`GET jobs/batches` says how it ended."));
    }
    tracing::info!(
        request_id = %asked.context.id, batch = id,
        role = %session.caller.principal.role.name, "batch_stopped"
    );
    Ok(rpc::json(
        StatusCode::OK,
        json!({"ok": true}).to_string().into(),
    ))
}

pub(crate) fn describe() -> Value {
    let done = describe::object(&json!({"ok": {"const": true}}));
    json!({
        "operationId": "stopBatch",
        "summary": "Ends a batch where it is",
        "description": "For members of rolegate_operator. What was done stays done.",
        "parameters": [describe::database(), id_parameter()],
        "responses": describe::responses(
            &json!({"200": describe::answer("It was stopped", &done)}),
            &[ErrorCode::InvalidParams, ErrorCode::JobConflict],
        ),
    })
}
