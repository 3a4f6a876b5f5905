//! `POST /api/{database}/login` and method `login`: a password becomes a token.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use rolegate_model::ErrorCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::{body, rpc};
use crate::database::SignError;
use crate::extract::PathParts;
use crate::identity;
use crate::metrics::AUTHENTICATIONS;
use crate::problem::Problem;
use crate::request::RequestContext;
use crate::router::App;

/// Who wants in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    login: String,
    password: SecretString,
}

pub(crate) async fn handle(
    State(app): State<App>,
    PathParts(database): PathParts<String>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        app.database(&database)?;
        let bytes = body::read(app.config(), &headers, body, app.config().max_body_bytes).await?;
        let credentials = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
        token(&app, &database, &context, credentials).await
    };
    match answer.await {
        // `Cache-Control: no-store` is the default of every answer.
        Ok(token) => rpc::json(StatusCode::OK, token),
        Err(problem) => problem.into_response_for(&context),
    }
}

/// The same for the method `login`.
pub(crate) async fn by_params(
    app: &App,
    database: &str,
    context: &RequestContext,
    params: Option<&RawValue>,
) -> Result<Bytes, Problem> {
    let text = params.map_or("null", RawValue::get);
    let credentials = serde_json::from_str(text).map_err(|_| malformed())?;
    token(app, database, context, credentials).await
}

fn malformed() -> Problem {
    Problem::new(ErrorCode::InvalidParams)
        .message("login takes an object with the two strings `login` and `password`.")
}

async fn token(
    app: &App,
    database: &str,
    context: &RequestContext,
    credentials: Credentials,
) -> Result<Bytes, Problem> {
    let database = app.database(database)?;
    let Some(check) = &database.password else {
        return Err(Problem::new(ErrorCode::NotFound).message("Password login is off here."));
    };
    let peer = context
        .peer
        .unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    let checked = check
        .check(&credentials.login, &credentials.password, peer)
        .await;
    let role = checked.map_err(|error| {
        let code = error.code();
        count(code.as_str());
        if error.is_finding() {
            tracing::error!(
                request_id = %context.id, reason = %error,
                "login_without_scram: the server let a password login in without checking it"
            );
        } else {
            tracing::info!(
                request_id = %context.id, peer = %peer, reason = %error, code = code.as_str(),
                "auth_failed"
            );
        }
        let problem = Problem::new(code);
        match error.retry_after() {
            Some(after) => problem.retry_after(after),
            None => problem,
        }
    })?;
    let lifetime = app.config().login_token_ttl;
    let token = database.sign_for(&role, lifetime).await.map_err(|error| match error {
        SignError::Refused(refusal) => identity::refused(context, &refusal),
        error => {
            tracing::error!(request_id = %context.id, %error, cause = ?error, "login_not_signed");
            Problem::new(ErrorCode::Internal)
        }
    })?;
    count("ok");
    tracing::info!(request_id = %context.id, role = %role, peer = %peer, "login");
    let body = json!({
        "token": token.expose_secret(),
        "token_type": "Bearer",
        "expires_in": lifetime.as_secs(),
    });
    Ok(body.to_string().into())
}

fn count(outcome: &'static str) {
    metrics::counter!(AUTHENTICATIONS, "kind" => "password", "outcome" => outcome).increment(1);
}
