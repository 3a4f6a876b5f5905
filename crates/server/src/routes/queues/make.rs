//! `PUT /v1/{database}/queues/{queue}`: makes a queue, unless it is there.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::{only, parameters, read, refusal};
use crate::problem::Problem;
use crate::routes::admin::{self, TEXT};
use crate::routes::asked::Asked;
use crate::routes::jobs::MAX_NAME;
use crate::routes::{describe, rpc};

pub(crate) async fn handle(asked: Asked, body: Body) -> Response {
    asked.answer(make(&asked, body).await)
}

async fn make(asked: &Asked, body: Body) -> Result<Response, Problem> {
    let session = asked.session("rolegate.create_queue").await?;
    asked.members(body, &[]).await?;
    let name = asked.name("queue")?;
    if name.chars().count() > MAX_NAME {
        return Err(Problem::at("queue", "is too long").hint(format!("{MAX_NAME} characters.")));
    }
    let create = Statement::once(session.database.sql.of("select rolegate.create_queue($1)"))
        .param(TEXT, Some(name.clone()));
    let read = read(&session, Some(name));
    let [made, queues] = admin::run_all(&session, [create, read], Access::ReadWrite)
        .await
        .map_err(refusal)?;
    let status = if made.as_deref() == Some(b"t") {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(rpc::json(status, only(queues)?))
}

pub(crate) fn describe() -> Value {
    let none = json!({"type": "object", "additionalProperties": false});
    json!({
        "operationId": "makeQueue",
        "summary": "Makes a queue, unless it is there",
        "description": "For members of rolegate_operator.",
        "parameters": parameters(),
        "requestBody": describe::body(&none, false),
        "responses": describe::responses(
            &json!({
                "200": describe::answer("It was there", &describe::schema("Queue")),
                "201": describe::answer("It was made", &describe::schema("Queue")),
            }),
            &[
                ErrorCode::InvalidParams, ErrorCode::NotFound, ErrorCode::BodyTooLarge,
                ErrorCode::UnsupportedMediaType,
            ],
        ),
    })
}
