//! `DELETE /v1/{database}/tokens/{token_id}`: a token stops working, everywhere within a second.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::extract::PathParts;
use crate::problem::Problem;
use crate::request::RequestContext;
use crate::router::App;
use crate::routes::admin::{self, UUID};
use crate::routes::describe;

pub(crate) async fn handle(
    State(app): State<App>,
    PathParts((database, token_id)): PathParts<(String, String)>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let function = "rolegate.revoke_api_token";
        let session = admin::session(&app, &database, &context, &headers, function).await?;
        let token_id = Uuid::try_parse(&token_id).map_err(|_| {
            Problem::at("token_id", "is no token's id").hint("Take it from the list of tokens.")
        })?;
        let sql = session.database.sql.of(include_str!("revoke.sql"));
        let statement = Statement::once(sql).param(UUID, Some(token_id.to_string()));
        let outcome = admin::run(&session, statement, Access::ReadWrite)
            .await
            .map_err(|problem| {
                admin::needs(problem, "Revoking needs membership of rolegate_operator.")
            })?;
        match outcome.as_deref() {
            Some(b"now") => {
                tracing::info!(
                    request_id = %context.id, %token_id,
                    operator = %session.caller.principal.role.name, "token_revoked"
                );
                Ok(())
            }
            // A repeat: the token is what the caller wants it to be.
            Some(b"before") => Ok(()),
            _ => Err(Problem::new(ErrorCode::NotFound).message("There is no such token.")),
        }
    };
    match answer.await {
        Ok(()) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Err(problem) => problem.into_response_for(&context),
    }
}

pub(crate) fn describe() -> Value {
    json!({
        "operationId": "revokeToken",
        "summary": "Revokes an API token",
        "description": "For members of rolegate_operator. Every process refuses the token within \
                        a second. Revoking it again changes nothing.",
        "parameters": [
            describe::database(),
            {"name": "token_id", "in": "path", "required": true, "schema": describe::uuid()},
        ],
        "responses": describe::responses(
            &json!({"204": {"description": "It is revoked"}}),
            &[ErrorCode::InvalidParams, ErrorCode::NotFound],
        ),
    })
}
