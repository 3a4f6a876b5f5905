//! `GET /v1/{database}/jobs/batches`: the newest first.

use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::{LOOKING, MAX_BATCHES};
use crate::problem::Problem;
use crate::routes::admin::{self, INT8};
use crate::routes::asked::{self, Asked};
use crate::routes::describe;

const DEFAULT_LIMIT: u16 = 100;

const LIST: &str = concat!(
    "select coalesce(pg_catalog.json_agg(",
    include_str!("batch.sql"),
    " order by b.id desc), '[]') from rolegate.batches($1::integer) b"
);

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(list(&asked).await)
}

async fn list(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.batches").await?;
    asked.query.only(&["limit"])?;
    let limit = match asked.query.once("limit")? {
        None => DEFAULT_LIMIT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_BATCHES).contains(limit))
            .ok_or_else(|| {
                Problem::at("limit", "is out of bounds").hint(format!("1 to {MAX_BATCHES}."))
            })?,
    };
    let sql = session.database.sql.of(LIST);
    let statement = Statement::once(sql).param(INT8, Some(limit.to_string()));
    let batches = admin::run(&session, statement, Access::ReadOnly)
        .await
        .map_err(|problem| admin::needs(problem, LOOKING))?;
    asked::made(batches)
}

pub(crate) fn describe() -> Value {
    let limit = json!({
        "name": "limit", "in": "query", "required": false, "description": "How many at most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_BATCHES, "default": DEFAULT_LIMIT},
    });
    let batches = describe::list(&describe::schema("Batch"));
    json!({
        "operationId": "listBatches",
        "summary": "Lists batches, the newest first",
        "description": "For viewers and operators.",
        "parameters": [describe::database(), limit],
        "responses": describe::responses(
            &json!({"200": describe::answer("The batches", &batches)}),
            &[ErrorCode::InvalidParams],
        ),
    })
}
