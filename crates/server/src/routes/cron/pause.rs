//! `POST /v1/{database}/cron/{name}/pause`.

use axum::response::Response;
use rolegate_model::ErrorCode;
use serde_json::{Value, json};

use super::{describe_done, done, parameters, switch};
use crate::problem::Problem;
use crate::routes::asked::Asked;
use crate::routes::describe;

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(pause(&asked).await)
}

async fn pause(asked: &Asked) -> Result<Response, Problem> {
    let sql = "select rolegate.pause_cron($1)";
    let changed = switch(asked, "rolegate.pause_cron", sql, "paused").await?;
    Ok(done(changed))
}

pub(crate) fn describe() -> Value {
    json!({
        "operationId": "pauseCron",
        "summary": "Lets an entry fire no more",
        "description": "For members of rolegate_operator. Times that pass while it is paused never fire.",
        "parameters": parameters(),
        "responses": describe::responses(
            &json!({"200": describe_done("It is paused")}),
            &[ErrorCode::NotFound],
        ),
    })
}
