//! `POST /v1/{database}/dlq/bulk-purge`.

use axum::body::Body;
use axum::response::Response;
use serde_json::Value;

use super::bulk::{self, Bulk};
use crate::routes::asked::Asked;

/// What it takes.
pub(super) const NEEDS: &str = "Purging needs membership of rolegate_operator.";

const BULK: Bulk = Bulk {
    function: "rolegate.purge_dead_letters",
    sql: "select pg_catalog.json_build_object(
        'n', rolegate.purge_dead_letters($1, $2, $3, t.before), 'before', t.before)
    from (select coalesce($4, pg_catalog.clock_timestamp()) as before offset 0) t",
    needs: NEEDS,
    what: "purged",
};

pub(crate) async fn handle(asked: Asked, body: Body) -> Response {
    asked.answer(bulk::run(&asked, body, BULK).await)
}

pub(crate) fn describe() -> Value {
    bulk::describe("purgeDeadLetters", "Forgets dead letters")
}
