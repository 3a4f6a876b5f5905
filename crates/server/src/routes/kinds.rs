//! `GET /v1/{database}/kinds`: which kinds of jobs there are.

use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::admin::{self, TEXT};
use super::asked::{self, Asked};
use super::describe;
use super::jobs::filter::Filter;
use super::jobs::{refusal, show};
use crate::problem::Problem;

const PARAMETERS: [&str; 1] = ["queue"];

const KINDS: &str = "select coalesce(
        pg_catalog.json_agg(
            pg_catalog.json_build_object(
                'kind', k.kind,
                'jobs', k.jobs,
                'states', k.states,
                'last_enqueued_at', k.last_enqueued_at,
                'complete', k.complete)
            order by k.jobs desc, k.kind), '[]')
    from rolegate.kinds($1) k";

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(list(&asked).await)
}

async fn list(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.kinds").await?;
    let filter = Filter::read(&asked.query, &PARAMETERS)?;
    let statement = Statement::once(session.database.sql.of(KINDS)).param(TEXT, filter.queue);
    let kinds = admin::run(&session, statement, Access::ReadOnly)
        .await
        .map_err(|problem| refusal(problem, show::NEEDS))?;
    asked::made(kinds)
}

pub(crate) fn describe() -> Value {
    let count = json!({"type": "integer", "minimum": 0});
    let kind = describe::object(&json!({
        "kind": {"type": "string"},
        "jobs": count,
        "states": {"type": "object", "additionalProperties": count,
                   "description": "How many of them are in which state."},
        "last_enqueued_at": describe::time(),
        "complete": {"type": "boolean", "description": "False: there are jobs that were not looked at."},
    }));
    let parameters: Vec<Value> = std::iter::once(describe::database())
        .chain(Filter::describe(&PARAMETERS))
        .collect();
    json!({
        "operationId": "listKinds",
        "summary": "Lists kinds, the most frequent first",
        "description": "Of the newest 20,000 jobs that the caller may see.",
        "parameters": parameters,
        "responses": describe::responses(
            &json!({"200": describe::answer("The kinds", &describe::list(&kind))}),
            &[ErrorCode::InvalidParams],
        ),
    })
}
