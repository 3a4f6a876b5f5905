//! What is decided about many dead letters at once.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::problem::Problem;
use crate::routes::admin::{self, TEXT, TIMESTAMPTZ};
use crate::routes::asked::Asked;
use crate::routes::jobs::{MAX_NAME, MAX_TAG, refusal};
use crate::routes::rounds::Rounds;
use crate::routes::{describe, rpc};

const MEMBERS: [&str; 5] = ["queue", "kind", "tag", "before", "all"];

/// What is done, by which function, and who may.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bulk {
    /// As scopes name it.
    pub(super) function: &'static str,
    /// `$1` queue, `$2` kind, `$3` tag, `$4` before which time they ended; gives `n` and that time.
    pub(super) sql: &'static str,
    pub(super) needs: &'static str,
    /// For the log.
    pub(super) what: &'static str,
}

/// What one round did, and the time that the next ones have to go on with.
#[derive(Debug, Deserialize)]
struct Round {
    n: u64,
    before: String,
}

impl Round {
    fn read(json: Option<Bytes>) -> Result<Self, Problem> {
        json.and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or_else(|| Problem::new(ErrorCode::Internal))
    }
}

pub(super) async fn run(asked: &Asked, body: Body, bulk: Bulk) -> Result<Response, Problem> {
    let session = asked.session(bulk.function).await?;
    let members = asked.members(body, &MEMBERS).await?;
    let queue = members.text("queue", MAX_NAME)?;
    let kind = members.text("kind", MAX_NAME)?;
    let tag = members.text("tag", MAX_TAG)?;
    let mut before = members.time("before")?;
    let filtered = queue.is_some() || kind.is_some() || tag.is_some() || before.is_some();
    // By name: nobody empties it by leaving something out.
    if !filtered && members.flag("all")? != Some(true) {
        return Err(Problem::at("all", "is missing, and so is a filter")
            .hint("Name `queue`, `kind`, `tag` or `before`, or say `\"all\": true`."));
    }
    let sql = session.database.sql.of(bulk.sql);
    let mut rounds = Rounds::begin();
    let done = loop {
        let statement = Statement::once(sql.clone())
            .param(TEXT, queue.clone())
            .param(TEXT, kind.clone())
            .param(TEXT, tag.clone())
            .param(TIMESTAMPTZ, before.clone());
        let round = admin::run(&session, statement, Access::ReadWrite)
            .await
            .map_err(|problem| refusal(problem, bulk.needs))
            .and_then(Round::read);
        let number = round.map(|round| {
            // What fails again meanwhile is not one of them.
            before = Some(round.before);
            round.n
        });
        if let Some(done) = rounds.after(number)? {
            break done;
        }
    };
    tracing::info!(
        request_id = %asked.context.id, what = bulk.what, jobs = done.count,
        role = %session.caller.principal.role.name, "dead_letters_decided"
    );
    let body = json!({"count": done.count, "complete": done.complete});
    Ok(rpc::json(StatusCode::OK, body.to_string().into()))
}

pub(super) fn describe_counted(description: &str) -> Value {
    let counted = describe::object(&json!({
        "count": {"type": "integer", "minimum": 0},
        "complete": {"type": "boolean", "description": "False: repeat the request."},
    }));
    describe::answer(description, &counted)
}

pub(super) fn describe(id: &str, summary: &str) -> Value {
    let name = json!({"type": ["string", "null"], "minLength": 1, "maxLength": MAX_NAME});
    let body = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "queue": name,
            "kind": name,
            "tag": {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_TAG},
            "before": {
                "type": ["string", "null"], "format": "date-time",
                "description": "Only those that failed before.",
            },
            "all": {"type": ["boolean", "null"], "description": "True is needed where no filter is."},
        },
    });
    json!({
        "operationId": id,
        "summary": summary,
        "description": "For members of rolegate_operator. Those that were there when it began, for up to \
                        20 seconds.",
        "parameters": [describe::database()],
        "requestBody": describe::body(&body, true),
        "responses": describe::responses(
            &json!({"200": describe_counted("How many that were")}),
            describe::BULK_DECISIONS,
        ),
    })
}
