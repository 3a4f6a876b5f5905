//! `POST /v1/{database}/queues/{queue}/resume`.

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

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(resume(&asked).await)
}

async fn resume(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.resume_queue").await?;
    let name = asked.name("queue")?;
    let statement = Statement::once(session.database.sql.of("select rolegate.resume_queue($1)"))
        .param(TEXT, Some(name.clone()));
    let changed = admin::run(&session, statement, Access::ReadWrite)
        .await
        .map_err(refusal)?;
    tracing::info!(
        request_id = %asked.context.id, queue = name,
        role = %session.caller.principal.role.name, "queue_resumed"
    );
    Ok(done(changed.as_deref()))
}

pub(crate) fn describe() -> Value {
    json!({
        "operationId": "resumeQueue",
        "summary": "Lets a paused queue go on",
        "description": "For members of rolegate_operator.",
        "parameters": parameters(),
        "responses": describe::responses(
            &json!({"200": describe_done("It goes on")}),
            &[ErrorCode::NotFound],
        ),
    })
}
