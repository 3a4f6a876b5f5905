//! `GET /v1/{database}/tokens`: the tokens there are, without their secrets.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use rolegate_model::ErrorCode;
use rolegate_model::role::MAX_IDENTIFIER_BYTES;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::extract::{PathParts, QueryPairs};
use crate::problem::Problem;
use crate::request::RequestContext;
use crate::router::App;
use crate::routes::admin::{self, BOOL, INT8, TEXT, UUID};
use crate::routes::{describe, rpc};

/// Tokens of a page.
const MAX_LIMIT: u32 = 200;
const DEFAULT_LIMIT: u32 = 50;

/// Which tokens.
#[derive(Debug, PartialEq, Eq)]
struct Filter {
    role: Option<String>,
    revoked: Option<bool>,
    after: Option<Uuid>,
    limit: u32,
}

pub(crate) async fn handle(
    State(app): State<App>,
    PathParts(database): PathParts<String>,
    query: QueryPairs,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let function = "rolegate.list_api_tokens";
        let session = admin::session(&app, &database, &context, &headers, function).await?;
        let filter = Filter::read(&query)?;
        let sql = session.database.sql.of(include_str!("list.sql"));
        let statement = Statement::once(sql)
            .param(TEXT, filter.role)
            .param(BOOL, filter.revoked.map(|revoked| revoked.to_string()))
            .param(UUID, filter.after.map(|id| id.to_string()))
            .param(INT8, Some(filter.limit.to_string()));
        let page = admin::run(&session, statement, Access::ReadOnly)
            .await
            .map_err(|problem| match problem.sqlstate.as_deref() {
                Some("P0002") => no_such_token(),
                _ => admin::needs(
                    problem,
                    "Listing needs membership of rolegate_viewer or rolegate_operator.",
                ),
            })?;
        page.ok_or_else(|| Problem::new(ErrorCode::Internal))
    };
    match answer.await {
        Ok(page) => rpc::json(StatusCode::OK, page),
        Err(problem) => problem.into_response_for(&context),
    }
}

fn no_such_token() -> Problem {
    Problem::at("after", "is no token's id").hint("Take it from `next` of a page.")
}

impl Filter {
    fn read(query: &QueryPairs) -> Result<Self, Problem> {
        query.only(&["role", "revoked", "after", "limit"])?;
        let role = query.once("role")?;
        if role.is_some_and(|role| {
            role.is_empty() || role.len() > MAX_IDENTIFIER_BYTES || role.contains('\0')
        }) {
            return Err(Problem::at("role", "is no role's name")
                .hint(format!("A name has 1 to {MAX_IDENTIFIER_BYTES} bytes.")));
        }
        let revoked = match query.once("revoked")? {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => {
                return Err(Problem::at("revoked", "is neither true nor false")
                    .hint("Leave it out for both kinds."));
            }
        };
        let after = query
            .once("after")?
            .map(Uuid::try_parse)
            .transpose()
            .map_err(|_| no_such_token())?;
        let limit = match query.once("limit")? {
            None => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| {
                    Problem::at("limit", "is out of bounds")
                        .hint(format!("A page has 1 to {MAX_LIMIT} tokens."))
                })?,
        };
        Ok(Self {
            role: role.map(str::to_owned),
            revoked,
            after,
            limit,
        })
    }
}

pub(crate) fn describe() -> Value {
    let parameter = |name: &str, schema: Value, text: &str| {
        json!({"name": name, "in": "query", "required": false, "schema": schema,
               "description": text})
    };
    let role = json!({"type": "string", "minLength": 1, "maxLength": MAX_IDENTIFIER_BYTES});
    let limit =
        json!({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT});
    json!({
        "operationId": "listTokens",
        "summary": "Lists API tokens, newest first, without their secrets",
        "description": "For members of rolegate_viewer and rolegate_operator.",
        "parameters": [
            describe::database(),
            parameter("role", role, "Only tokens of this role."),
            parameter("revoked", json!({"type": "boolean"}), "Only revoked ones, or only others."),
            parameter("after", describe::uuid(), "`next` of the page before."),
            parameter("limit", limit, "Tokens of a page."),
        ],
        "responses": describe::responses(
            &json!({"200": describe::answer("A page of tokens", &json!({
                "type": "object",
                "required": ["tokens", "next"],
                "properties": {
                    "tokens": {"type": "array", "maxItems": MAX_LIMIT, "items": token()},
                    "next": {
                        "description": "`after` of the next page; null if this is the last.",
                        "type": ["string", "null"], "format": "uuid",
                    },
                },
            }))}),
            &[ErrorCode::InvalidParams],
        ),
    })
}

fn token() -> Value {
    let properties = json!({
        "token_id": describe::uuid(),
        "role": {"type": "string"},
        "state": {"enum": ["valid", "expired", "revoked", "role_replaced"]},
        "description": {"type": "string"},
        "scopes": {"anyOf": [describe::scopes(), {"type": "null"}]},
        "created_at": describe::time(),
        "created_by": {"type": "string"},
        "expires_at": describe::time_or_null(),
        "last_used_at": describe::time_or_null(),
        "revoked_at": describe::time_or_null(),
        "revoked_by": {"type": ["string", "null"]},
    });
    describe::object(&properties)
}
