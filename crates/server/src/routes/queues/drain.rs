//! `POST /v1/{database}/queues/{queue}/drain`: cancels what waits.

use axum::response::Response;
use http::StatusCode;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::{parameters, refusal};
use crate::problem::Problem;
use crate::routes::admin::{self, TEXT};
use crate::routes::asked::Asked;
use crate::routes::rounds::{self, Rounds};
use crate::routes::{describe, rpc};

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(drain(&asked).await)
}

async fn drain(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.drain_queue").await?;
    let name = asked.name("queue")?;
    let statement = Statement::once(session.database.sql.of("select rolegate.drain_queue($1)"))
        .param(TEXT, Some(name.clone()));
    let mut rounds = Rounds::begin();
    let done = loop {
        let round = admin::run(&session, statement.clone(), Access::ReadWrite)
            .await
            .map_err(refusal)
            .and_then(rounds::number);
        if let Some(done) = rounds.after(round)? {
            break done;
        }
    };
    tracing::info!(
        request_id = %asked.context.id, queue = name, jobs = done.count,
        role = %session.caller.principal.role.name, "queue_drained"
    );
    let body = json!({"drained": done.count, "complete": done.complete});
    Ok(rpc::json(StatusCode::OK, body.to_string().into()))
}

pub(crate) fn describe() -> Value {
    let drained = describe::object(&json!({
        "drained": {"type": "integer", "minimum": 0},
        "complete": {"type": "boolean", "description": "False: repeat the request."},
    }));
    json!({
        "operationId": "drainQueue",
        "summary": "Cancels everything that waits in a queue",
        "description": "For members of rolegate_operator. Up to 1,000 jobs in a transaction, for up to \
                        20 seconds. What runs, or waits for a callback, goes on.",
        "parameters": parameters(),
        "responses": describe::responses(
            &json!({"200": describe::answer("How many jobs that were", &drained)}),
            &[ErrorCode::NotFound, ErrorCode::DeadlineExceeded],
        ),
    })
}
