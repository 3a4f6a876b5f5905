//! `POST /v1/{database}/cron/{name}/trigger`: a job of an entry now.

use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::{parameters, refusal};
use crate::problem::Problem;
use crate::routes::admin::{self, TEXT};
use crate::routes::asked::{self, Asked};
use crate::routes::describe;
use crate::routes::jobs::JOB;

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(trigger(&asked).await)
}

async fn trigger(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.trigger_cron").await?;
    let name = asked.name("name")?;
    let sql = &session.database.sql;
    let trigger =
        Statement::once(sql.of("select rolegate.trigger_cron($1)")).param(TEXT, Some(name.clone()));
    // The entry says which job that was.
    let last = "(select c.last_job from rolegate.list_crons() c where c.name = $1)";
    let job = Statement::once(sql.of(&JOB.replace("$1", last))).param(TEXT, Some(name.clone()));
    let [made, job] = admin::run_all(&session, [trigger, job], Access::ReadWrite)
        .await
        .map_err(refusal)?;
    if made.is_none() {
        return Err(Problem::new(ErrorCode::JobConflict)
            .message("The entry is to have only one job, and the one before has not ended."));
    }
    tracing::info!(
        request_id = %asked.context.id, entry = name, what = "triggered",
        role = %session.caller.principal.role.name, "cron_changed"
    );
    asked::made(job)
}

pub(crate) fn describe() -> Value {
    json!({
        "operationId": "triggerCron",
        "summary": "Enqueues a job of an entry now, paused or not",
        "description": "For members of rolegate_operator. Its times stay as they are.",
        "parameters": parameters(),
        "responses": describe::responses(
            &json!({"200": describe::answer("The job", &describe::schema("Job"))}),
            &[ErrorCode::NotFound, ErrorCode::JobConflict],
        ),
    })
}
