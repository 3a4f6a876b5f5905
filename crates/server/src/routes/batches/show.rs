//! `GET /v1/{database}/jobs/batches/{id}`: how far one is.

use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::{LOOKING, batch_id, id_parameter, no_such_batch};
use crate::problem::Problem;
use crate::routes::admin::{self, INT8};
use crate::routes::asked::{self, Asked};
use crate::routes::describe;

const SHOW: &str = concat!(
    "select ",
    include_str!("batch.sql"),
    " from rolegate.batches(1000) b where b.id = $1"
);

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(show(&asked).await)
}

async fn show(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.batches").await?;
    asked.query.only(&[])?;
    let sql = session.database.sql.of(SHOW);
    let statement = Statement::once(sql).param(INT8, Some(batch_id(asked)?));
    let batch = admin::run(&session, statement, Access::ReadOnly)
        .await
        .map_err(|problem| admin::needs(problem, LOOKING))?;
    asked::made(Some(batch.ok_or_else(no_such_batch)?))
}

pub(crate) fn describe() -> Value {
    json!({
        "operationId": "getBatch",
        "summary": "Shows how far a batch is",
        "description": "For viewers and operators.",
        "parameters": [describe::database(), id_parameter()],
        "responses": describe::responses(
            &json!({"200": describe::answer("The batch", &describe::schema("Batch"))}),
            &[ErrorCode::InvalidParams, ErrorCode::NotFound],
        ),
    })
}
