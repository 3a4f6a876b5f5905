//! `POST /v1/{database}/jobs`: a job, enqueued by the caller's role.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{MAX_NAME, refusal};
use crate::problem::Problem;
use crate::routes::admin::{self, FLOAT8, INT8, JSONB, TEXT, TIMESTAMPTZ};
use crate::routes::asked::Asked;
use crate::routes::members::Members;
use crate::routes::{describe, rpc};

const MEMBERS: [&str; 17] = [
    "kind",
    "args",
    "queue",
    "run_at",
    "priority",
    "max_attempts",
    "unique_key",
    "on_conflict",
    "unique_for",
    "deadline",
    "tags",
    "metadata",
    "trace",
    "ordering_key",
    "limit_key",
    "backoff",
    "max_backoff",
];

const MAX_TAGS: usize = 20;
const MAX_KEY: usize = 1000;
const MAX_TRACE: usize = 200;

pub(crate) async fn handle(asked: Asked, body: Body) -> Response {
    asked.answer(enqueue(&asked, body).await)
}

async fn enqueue(asked: &Asked, body: Body) -> Result<Response, Problem> {
    let session = asked.session("rolegate.enqueue").await?;
    let limit = asked.app.config().max_body_bytes;
    let members = asked.larger_members(body, &MEMBERS, limit).await?;
    let sql = session.database.sql.of(include_str!("enqueue.sql"));
    let statement = wanted(&members, Statement::once(sql), &asked.headers)?;
    let made = admin::run(&session, statement, Access::ReadWrite)
        .await
        .map_err(|problem| match problem.sqlstate.as_deref() {
            Some("23505") => Problem {
                sqlstate: problem.sqlstate,
                ..Problem::new(ErrorCode::JobConflict)
            }
            .message("A job of this kind has this unique key.")
            .hint("`\"on_conflict\": \"existing\"` answers with its id instead."),
            _ => refusal(problem, "Enqueueing needs membership of rolegate_producer."),
        })?
        .ok_or_else(|| Problem::new(ErrorCode::Internal))?;
    let location = serde_json::from_slice(&made).map(|job: Made| {
        let place = format!("{}/{}", asked.context.path.trim_end_matches('/'), job.id);
        HeaderValue::from_str(&place)
    });
    let mut response = rpc::json(StatusCode::CREATED, made);
    if let Ok(Ok(location)) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

#[derive(Debug, Deserialize)]
struct Made {
    id: i64,
}

/// The statement with the values, each within its bounds, so that what does not fit is named.
fn wanted(
    members: &Members,
    statement: Statement,
    headers: &HeaderMap,
) -> Result<Statement, Problem> {
    let number =
        |number: Option<i64>, otherwise: i64| Some(number.unwrap_or(otherwise).to_string());
    let seconds = |seconds: Option<f64>| seconds.map(|seconds| seconds.to_string());
    let ordering_key = members.text("ordering_key", MAX_NAME)?;
    let limit_key = members.text("limit_key", MAX_NAME)?;
    if ordering_key.is_some() && limit_key.is_some() {
        return Err(Problem::at("limit_key", "is there beside `ordering_key`")
            .hint("A job has one of them, or none."));
    }
    let on_conflict = members.choice("on_conflict", &["error", "existing", "replace"])?;
    let trace = match members.text("trace", MAX_TRACE)? {
        Some(trace) => Some(trace),
        // The caller's own, so that its attempts are found under the request that made it.
        None => headers
            .get("traceparent")
            .and_then(|value| value.to_str().ok())
            .filter(|trace| !trace.is_empty() && trace.len() <= MAX_TRACE)
            .map(str::to_owned),
    };
    Ok(statement
        .param(TEXT, Some(members.needed_text("kind", MAX_NAME)?))
        .param(
            JSONB,
            Some(members.json("args")?.unwrap_or_else(|| "{}".to_owned())),
        )
        .param(
            TEXT,
            Some(
                members
                    .text("queue", MAX_NAME)?
                    .unwrap_or_else(|| "default".to_owned()),
            ),
        )
        .param(TIMESTAMPTZ, members.time("run_at")?)
        .param(INT8, number(members.number("priority", 1..=4)?, 2))
        .param(INT8, number(members.number("max_attempts", 1..=1000)?, 25))
        .param(TEXT, members.text("unique_key", MAX_KEY)?)
        .param(
            TEXT,
            Some(on_conflict.unwrap_or_else(|| "error".to_owned())),
        )
        .param(FLOAT8, seconds(members.seconds("unique_for", 0.0)?))
        .param(FLOAT8, seconds(members.seconds("deadline", 0.001)?))
        .param(JSONB, members.texts("tags", MAX_TAGS, MAX_NAME)?)
        .param(JSONB, members.object("metadata")?)
        .param(TEXT, trace)
        .param(TEXT, ordering_key)
        .param(TEXT, limit_key)
        .param(FLOAT8, seconds(members.seconds("backoff", 0.0)?))
        .param(FLOAT8, seconds(members.seconds("max_backoff", 0.0)?)))
}

pub(crate) fn describe() -> Value {
    let name = |default: Value| {
        let mut schema = json!({"type": "string", "minLength": 1, "maxLength": MAX_NAME});
        if !default.is_null() {
            schema["default"] = default;
        }
        schema
    };
    let key = json!({"type": ["string", "null"], "minLength": 1, "maxLength": MAX_NAME});
    let seconds = |least: f64| json!({"type": ["number", "null"], "minimum": least});
    let wanted = json!({
        "type": "object",
        "required": ["kind"],
        "additionalProperties": false,
        "properties": {
            "kind": name(Value::Null),
            "args": {"description": "Any JSON.", "default": {}},
            "queue": name("default".into()),
            "run_at": describe::time_or_null(),
            "priority": {"type": "integer", "minimum": 1, "maximum": 4, "default": 2,
                         "description": "1 comes first."},
            "max_attempts": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 25},
            "unique_key": {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_KEY},
            "on_conflict": {"enum": ["error", "existing", "replace"], "default": "error"},
            "unique_for": seconds(0.0),
            "deadline": seconds(0.001),
            "tags": {"type": ["array", "null"], "maxItems": MAX_TAGS,
                     "items": {"type": "string", "minLength": 1, "maxLength": MAX_NAME}},
            "backoff": seconds(0.0),
            "max_backoff": seconds(0.0),
            "ordering_key": key,
            "limit_key": key,
            "metadata": {"type": ["object", "null"]},
            "trace": {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_TRACE,
                      "description": "A W3C `traceparent`; else the request's own."},
        },
    });
    let made = describe::object(&json!({"id": describe::int64()}));
    let mut created = describe::answer("Its id", &made);
    created["headers"] = json!({"Location": {"required": true, "schema": {"type": "string"}}});
    json!({
        "operationId": "enqueueJob",
        "summary": "Enqueues a job, which belongs to the caller's role",
        "description": "For members of rolegate_producer. Times are in seconds. A job whose kind is the \
                        name of an exposed function runs that function as the caller's role.",
        "parameters": [describe::database()],
        "requestBody": describe::body(&wanted, true),
        "responses": describe::responses(
            &json!({"201": created}),
            &[
                ErrorCode::InvalidParams, ErrorCode::JobConflict, ErrorCode::BodyTooLarge,
                ErrorCode::UnsupportedMediaType,
            ],
        ),
    })
}
