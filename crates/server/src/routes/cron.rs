//! `/v1/{database}/cron`: jobs by the clock, by viewers and operators.

pub(crate) mod list;
pub(crate) mod pause;
pub(crate) mod remove;
pub(crate) mod resume;
pub(crate) mod trigger;

use axum::response::Response;
use http::StatusCode;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::admin::{self, TEXT};
use super::asked::Asked;
use super::{describe, rpc};
use crate::problem::Problem;

const CHANGING: &str = "Changing cron entries needs membership of rolegate_operator.";

fn no_such_entry() -> Problem {
    Problem::new(ErrorCode::NotFound).message("There is no such cron entry.")
}

fn refusal(problem: Problem) -> Problem {
    match problem.sqlstate.as_deref() {
        Some("42704") => no_such_entry(),
        _ => admin::needs(problem, CHANGING),
    }
}

/// Runs a function of an entry's name; whether it says that something is different now.
async fn switch(
    asked: &Asked,
    function: &str,
    sql: &str,
    event: &'static str,
) -> Result<bool, Problem> {
    let session = asked.session(function).await?;
    let name = asked.name("name")?;
    let statement = Statement::once(session.database.sql.of(sql)).param(TEXT, Some(name.clone()));
    let changed = admin::run(&session, statement, Access::ReadWrite)
        .await
        .map_err(refusal)?;
    tracing::info!(
        request_id = %asked.context.id, entry = name, what = event,
        role = %session.caller.principal.role.name, "cron_changed"
    );
    Ok(changed.as_deref() == Some(b"t"))
}

fn done(changed: bool) -> Response {
    let body = json!({"ok": true, "changed": changed});
    rpc::json(StatusCode::OK, body.to_string().into())
}

fn describe_done(description: &str) -> Value {
    let done = describe::object(&json!({
        "ok": {"const": true},
        "changed": {"type": "boolean", "description": "False if it was so before."},
    }));
    describe::answer(description, &done)
}

fn parameters() -> Value {
    json!([
        describe::database(),
        describe::name("name", "The entry's name.")
    ])
}
