//! `PATCH /v1/{database}/queues/{queue}`: settings, in force at once.

use axum::body::Body;
use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::{only, parameters, read, refusal};
use crate::call::Session;
use crate::problem::Problem;
use crate::routes::admin::{self, BOOL, FLOAT8, TEXT};
use crate::routes::asked::{self, Asked};
use crate::routes::describe;
use crate::routes::jobs::schema::{self, LIMITS};
use crate::routes::members::Members;

const SECONDS: [&str; 3] = ["aging_seconds", "backoff_seconds", "max_backoff_seconds"];
const MEMBERS: [&str; 5] = [
    "dead_letters_kept",
    SECONDS[0],
    SECONDS[1],
    SECONDS[2],
    "limits",
];

pub(crate) async fn handle(asked: Asked, body: Body) -> Response {
    asked.answer(change(&asked, body).await)
}

async fn change(asked: &Asked, body: Body) -> Result<Response, Problem> {
    let session = asked.session("rolegate.set_queue").await?;
    let members = asked.members(body, &MEMBERS).await?;
    let name = asked.name("queue")?;
    let kept = members.flag("dead_letters_kept")?;
    let mut change = Statement::once(session.database.sql.of(include_str!("change.sql")))
        .param(TEXT, Some(name.clone()))
        .param(BOOL, kept.map(|kept| kept.to_string()));
    for member in SECONDS {
        let seconds = members.seconds(member, 0.0)?;
        change = change.param(FLOAT8, seconds.map(|seconds| seconds.to_string()));
    }
    let read = read(&session, Some(name.clone()));
    let queues = match limits(&session, &name, &members)? {
        None => admin::run_all(&session, [change, read], Access::ReadWrite)
            .await
            .map(|[_, queues]| queues),
        Some(limit) => admin::run_all(&session, [change, limit, read], Access::ReadWrite)
            .await
            .map(|[_, _, queues]| queues),
    };
    let queues = queues.map_err(refusal)?;
    tracing::info!(
        request_id = %asked.context.id, queue = name,
        role = %session.caller.principal.role.name, "queue_changed"
    );
    asked::made(Some(only(queues)?))
}

/// The statement that sets limits, if some are named.
fn limits(session: &Session, name: &str, members: &Members) -> Result<Option<Statement>, Problem> {
    let Some(wanted) = members.nested("limits", &LIMITS)? else {
        return Ok(None);
    };
    let function = "rolegate.set_queue_limits";
    let scopes = &session.caller.principal.scopes;
    if scopes
        .as_ref()
        .is_some_and(|scopes| !scopes.allows_function(function))
    {
        return Err(
            Problem::new(ErrorCode::ScopeDenied).hint(format!("`limits` take `{function}`."))
        );
    }
    let sql = session.database.sql.of(include_str!("limits.sql"));
    let mut statement = Statement::once(sql).param(TEXT, Some(name.to_owned()));
    for limit in LIMITS {
        let value = if limit.ends_with("rate") {
            wanted.amount(limit)?.map(|rate| rate.to_string())
        } else {
            wanted
                .number(limit, 0..=1_000_000)?
                .map(|number| number.to_string())
        };
        statement = statement.param(FLOAT8, value);
    }
    Ok(Some(statement))
}

pub(crate) fn describe() -> Value {
    let seconds = json!({"type": ["number", "null"], "minimum": 0});
    let rate = json!({"type": ["number", "null"], "minimum": 0, "maximum": 1e9});
    let number = json!({"type": ["integer", "null"], "minimum": 0, "maximum": 1_000_000});
    let mut limits = schema::limits(&number);
    limits["rate"] = rate.clone();
    limits["key_rate"] = rate;
    let body = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "dead_letters_kept": {"type": ["boolean", "null"]},
            SECONDS[0]: seconds,
            SECONDS[1]: seconds,
            SECONDS[2]: seconds,
            "limits": {
                "type": ["object", "null"],
                "additionalProperties": false,
                "properties": limits,
                "description": "0 takes a limit away. Of `key_…`: for each limit key.",
            },
        },
    });
    json!({
        "operationId": "changeQueue",
        "summary": "Changes settings of a queue",
        "description": "For members of rolegate_operator. What is left out stays as it is.",
        "parameters": parameters(),
        "requestBody": describe::body(&body, false),
        "responses": describe::responses(
            &json!({"200": describe::answer("The queue", &describe::schema("Queue"))}),
            &[
                ErrorCode::InvalidParams, ErrorCode::NotFound, ErrorCode::BodyTooLarge,
                ErrorCode::UnsupportedMediaType,
            ],
        ),
    })
}
