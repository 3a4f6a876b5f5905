//! `DELETE /v1/{database}/cron/{name}`.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use rolegate_model::ErrorCode;
use serde_json::{Value, json};

use super::{no_such_entry, parameters, switch};
use crate::problem::Problem;
use crate::routes::asked::Asked;
use crate::routes::describe;

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(remove(&asked).await)
}

async fn remove(asked: &Asked) -> Result<Response, Problem> {
    let sql = "select rolegate.remove_cron($1)";
    if !switch(asked, "rolegate.remove_cron", sql, "removed").await? {
        return Err(no_such_entry());
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

pub(crate) fn describe() -> Value {
    json!({
        "operationId": "removeCron",
        "summary": "Removes a cron entry",
        "description": "For members of rolegate_operator. Jobs that it made stay.",
        "parameters": parameters(),
        "responses": describe::responses(
            &json!({"204": {"description": "It is gone"}}),
            &[ErrorCode::NotFound],
        ),
    })
}
