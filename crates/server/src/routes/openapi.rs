//! Discovery: what this caller may call, as OpenAPI, OpenRPC and the method `capabilities`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rolegate_model::ErrorCode;
use rolegate_pg::catalog::{Function, Snapshot};
use rolegate_rpc::describe::{self, DescribedQueries, OpenApi};
use serde_json::Value;

use super::{rpc, session};
use crate::call::Session;
use crate::config::{Mode, Queries};
use crate::extract::PathParts;
use crate::problem::Problem;
use crate::query;
use crate::request::RequestContext;
use crate::router::App;

/// `GET /api/{database}/openapi.json`.
pub(crate) async fn openapi(
    State(app): State<App>,
    PathParts(database): PathParts<String>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
) -> Response {
    document(&app, &database, &context, &headers, describe::openapi).await
}

/// `GET /api/{database}/openrpc.json`.
pub(crate) async fn openrpc(
    State(app): State<App>,
    PathParts(database): PathParts<String>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
) -> Response {
    document(&app, &database, &context, &headers, describe::openrpc).await
}

/// The method `capabilities`.
pub(crate) async fn capabilities(session: &Session) -> Result<Bytes, Problem> {
    let (snapshot, functions) = callable(session).await?;
    Ok(describe::capabilities(&snapshot, &functions)
        .to_string()
        .into())
}

type Describe = fn(&OpenApi<'_>, &Snapshot, &[Arc<Function>]) -> Value;

async fn document(
    app: &App,
    database: &str,
    context: &RequestContext,
    headers: &HeaderMap,
    describe: Describe,
) -> Response {
    let answer = async {
        let session = session::session(app, database, context, headers).await?;
        let (snapshot, functions) = callable(&session).await?;
        let config = OpenApi {
            title: &app.config().title,
            version: env!("CARGO_PKG_VERSION"),
            database,
            server: app.config().public_url.as_deref(),
            anonymous: session.database.config.anonymous.is_some(),
            login: session.database.password.is_some(),
            queries: queries(app, &session),
        };
        Ok(describe(&config, &snapshot, &functions).to_string())
    };
    match answer.await {
        Ok(text) => {
            let mut response = rpc::json(StatusCode::OK, text.into());
            response.headers_mut().insert(
                header::CACHE_CONTROL,
                HeaderValue::from_static("private, no-cache"),
            );
            response
        }
        Err(problem) => Problem::into_response_for(problem, context),
    }
}

/// How queries of this caller are answered; `None` if none is.
fn queries(app: &App, session: &Session) -> Option<DescribedQueries> {
    query::is_answered(session).then(|| DescribedQueries {
        public: session.database.config.queries == Queries::Public,
        named: app.databases().nth(1).is_some(),
    })
}

/// What the caller could call right now: by the database's grants, the token's scopes and the
/// rules of its mode.
async fn callable(session: &Session) -> Result<(Arc<Snapshot>, Vec<Arc<Function>>), Problem> {
    let database = &session.database;
    let snapshot = database.catalog.snapshot();
    let executable =
        database.catalog.executable(session.caller.principal.role.oid).await.map_err(|error| {
            tracing::warn!(request_id = %session.context.id, %error, cause = ?error, "catalog_failed");
            Problem::new(ErrorCode::DatabaseUnavailable)
        })?;
    let verdicts = (session.caller.mode == Mode::Assume).then(|| database.verdicts(&snapshot));
    let scopes = session.caller.principal.scopes.as_deref();
    let functions = snapshot
        .functions()
        .iter()
        .filter(|function| executable.contains(&function.oid))
        .filter(|function| scopes.is_none_or(|scopes| scopes.allows_function(&function.method())))
        .filter(|function| {
            verdicts
                .as_ref()
                .is_none_or(|verdicts| verdicts.refusal(function).is_none())
        })
        .cloned()
        .collect();
    Ok((snapshot, functions))
}
