//! `POST /v1/{database}/dlq/bulk-retry`.

use axum::body::Body;
use axum::response::Response;
use serde_json::Value;

use super::bulk::{self, Bulk};
use crate::routes::asked::Asked;
use crate::routes::jobs::retry;

const BULK: Bulk = Bulk {
    function: "rolegate.retry_dead_letters",
    sql: "select pg_catalog.json_build_object(
        'n', rolegate.retry_dead_letters($1, $2, $3, t.before), 'before', t.before)
    from (select coalesce($4, pg_catalog.clock_timestamp()) as before offset 0) t",
    needs: retry::NEEDS,
    what: "retried",
};

pub(crate) async fn handle(asked: Asked, body: Body) -> Response {
    asked.answer(bulk::run(&asked, body, BULK).await)
}

pub(crate) fn describe() -> Value {
    bulk::describe("retryDeadLetters", "Runs dead letters again")
}
