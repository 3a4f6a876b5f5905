//! `GET /v1/{database}/jobs`: the jobs that the caller may see.

use axum::response::Response;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};

use super::filter::{self, Filter};
use super::refusal;
use crate::problem::Problem;
use crate::routes::admin::{self, INT8, TEXT};
use crate::routes::asked::{self, Asked};
use crate::routes::describe;

const PARAMETERS: [&str; 6] = ["state", "queue", "kind", "tag", "before_id", "limit"];

pub(crate) async fn handle(asked: Asked) -> Response {
    asked.answer(list(&asked).await)
}

async fn list(asked: &Asked) -> Result<Response, Problem> {
    let session = asked.session("rolegate.list_jobs").await?;
    let filter = Filter::read(&asked.query, &PARAMETERS)?;
    let statement = Statement::once(session.database.sql.of(include_str!("list.sql")))
        .param(TEXT, filter.state)
        .param(TEXT, filter.queue)
        .param(TEXT, filter.kind)
        .param(TEXT, filter.tag)
        .param(INT8, filter.before.map(|id| id.to_string()))
        .param(INT8, Some(filter.limit.to_string()));
    let page = admin::run(&session, statement, Access::ReadOnly)
        .await
        .map_err(|problem| refusal(problem, super::show::NEEDS))?;
    let (rows, next) = filter::page(asked, page)?;
    Ok(asked::page(rows, next))
}

pub(crate) fn describe() -> Value {
    let parameters: Vec<Value> = std::iter::once(describe::database())
        .chain(Filter::describe(&PARAMETERS))
        .collect();
    json!({
        "operationId": "listJobs",
        "summary": "Lists jobs, those that came to their lane last first",
        "description": "Viewers and operators see all jobs, others those of roles whose rights they \
                        have.",
        "parameters": parameters,
        "responses": describe::responses(
            &json!({"200": filter::describe_page("A page of jobs", &describe::schema("JobRow"))}),
            &[ErrorCode::InvalidParams],
        ),
    })
}
