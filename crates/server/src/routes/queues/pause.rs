//! `POST /v1/{database}/queues/{queue}/pause`.

use axum::body::Body;
use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::{describe_done, done, parameters, refusal};
use crate::problem::Problem;
use crate::routes::admin::{self, TEXT};
use crate::routes::asked::Asked;
use crate::routes::describe;

/// Who paused is the caller's role; clients of Awa say it themselves.
pub(crate) const MEMBERS: [&str; 1] = ["paused_by"];

pub(crate) async fn handle(asked: Asked, body: Body) -> Response {
    asked.answer(pause(&asked, body).await)
}

async fn pause(asked: &Asked, body: Body) -> Result<Response, Problem> {
    let session = asked.session("rolegate.pause_queue").await?;
    asked.members(body, &MEMBERS).await?;
    let name = asked.name("queue")?;
    let statement = Statement::once(session.database.sql.of("select rolegate.pause_queue($1)"))
        .param(TEXT, Some(name.clone()));
    let changed = admin::run(&session, statement, Access::ReadWrite)
        .await
        .map_err(refusal)?;
    tracing::info!(
        request_id = %asked.context.id, queue = name,
        role = %session.caller.principal.role.name, "queue_paused"
    );
    Ok(done(changed.as_deref()))
}

pub(crate) fn body() -> Value {
    let body = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {"paused_by": {"description": "Not used: it is the caller's role."}},
    });
    describe::body(&body, false)
}

pub(crate) fn describe() -> Value {
    json!({
        "operationId": "pauseQueue",
        "summary": "Lets nothing more of a queue be claimed",
        "description": "For members of rolegate_operator. What runs goes on.",
        "parameters": parameters(),
        "requestBody": body(),
        "responses": describe::responses(
            &json!({"200": describe_done("It is paused")}),
            &[
                ErrorCode::InvalidParams, ErrorCode::NotFound, ErrorCode::BodyTooLarge,
                ErrorCode::UnsupportedMediaType,
            ],
        ),
    })
}
