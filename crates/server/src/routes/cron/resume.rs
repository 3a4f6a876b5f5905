//! `POST /v1/{database}/cron/{name}/resume`.

use axum::response::Response;
use rolegate_model::ErrorCode;
use serde_json::{Value, json};

use super::{describe_done, done, parameters, switch};
use crate::problem::Problem;
use crate::routes::asked::Asked;
use crate::routes::describe;

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(resume(&asked).await)
}

async fn resume(asked: &Asked) -> Result<Response, Problem> {
    let sql = "select rolegate.resume_cron($1)";
    let changed = switch(asked, "rolegate.resume_cron", sql, "resumed").await?;
    Ok(done(changed))
}

pub(crate) fn describe() -> Value {
    json!({
        "operationId": "resumeCron",
        "summary": "Lets a paused entry fire again",
        "description": "For members of rolegate_operator. Times that pass while it is paused never fire.",
        "parameters": parameters(),
        "responses": describe::responses(
            &json!({"200": describe_done("It fires again")}),
            &[ErrorCode::NotFound],
        ),
    })
}
