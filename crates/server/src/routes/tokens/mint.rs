//! `POST /v1/{database}/tokens`: a new API token, shown once.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use rolegate_model::role::MAX_IDENTIFIER_BYTES;
use rolegate_model::{ErrorCode, RoleName, Scopes};
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Map, Value, json};

use crate::call::Session;
use crate::extract::PathParts;
use crate::problem::Problem;
use crate::request::RequestContext;
use crate::router::App;
use crate::routes::admin::{self, BOOL, FLOAT8, JSONB, TEXT};
use crate::routes::{body, describe, rpc};

const MAX_DESCRIPTION_BYTES: usize = 500;
const MIN_SECONDS: u64 = 60;
const MAX_SECONDS: u64 = Duration::from_hours(24 * 3660).as_secs();
const DEFAULT_SECONDS: u64 = Duration::from_hours(24 * 90).as_secs();
/// Entries of a list in the scopes, and bytes of one: two names, a dot and a star.
const MAX_SCOPES: usize = 100;
const MAX_SCOPE_BYTES: usize = 2 * MAX_IDENTIFIER_BYTES + 2;
const SURFACES: [&str; 4] = ["calls", "events", "query", "admin"];

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    role: RoleName,
    description: String,
    /// Seconds; `None`: never.
    expires_in: Option<u64>,
    scopes: Option<Scopes>,
}

pub(crate) async fn handle(
    State(app): State<App>,
    PathParts(database): PathParts<String>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        let function = "rolegate.mint_api_token";
        let session = admin::session(&app, &database, &context, &headers, function).await?;
        if session.caller.principal.scopes.is_some() {
            return Err(Problem::new(ErrorCode::ScopeDenied)
                .hint("A token with scopes mints none: the new one could do what it may not."));
        }
        let bytes = body::read(app.config(), &headers, body, admin::MAX_BODY_BYTES).await?;
        mint(&session, Wanted::read(&bytes)?).await
    };
    match answer.await {
        // `Cache-Control: no-store` is the default of every answer.
        Ok(minted) => rpc::json(StatusCode::CREATED, minted),
        Err(problem) => problem.into_response_for(&context),
    }
}

async fn mint(session: &Session, wanted: Wanted) -> Result<Bytes, Problem> {
    let scopes = wanted
        .scopes
        .map(|scopes| serde_json::to_string(&scopes))
        .transpose()
        .map_err(|_| Problem::new(ErrorCode::Internal))?;
    let statement = Statement::once(session.database.sql.of(include_str!("mint.sql")))
        .param(TEXT, Some(wanted.role.as_str().to_owned()))
        .param(TEXT, Some(wanted.description))
        .param(JSONB, scopes)
        .param(BOOL, Some(wanted.expires_in.is_none().to_string()))
        .param(FLOAT8, wanted.expires_in.map(|seconds| seconds.to_string()));
    let minted = admin::run(session, statement, Access::ReadWrite)
        .await
        .map_err(refusal)?
        .ok_or_else(|| Problem::new(ErrorCode::Internal))?;
    let shown: Value = serde_json::from_slice(&minted).unwrap_or_default();
    tracing::info!(
        request_id = %session.context.id, token_id = shown["token_id"].as_str(),
        role = %wanted.role, operator = %session.caller.principal.role.name, "token_minted"
    );
    Ok(minted)
}

/// What the database says about the target. Its own words stay inside.
fn refusal(problem: Problem) -> Problem {
    let hint = "Minting needs membership of rolegate_operator and of the token's role, which must \
                not be too powerful.";
    match problem.sqlstate.as_deref() {
        Some("42704") => Problem::at("role", "is no role that a token can have")
            .hint("The role has to exist, and to be admitted."),
        Some("55000") => Problem::at("role", "is not admitted")
            .hint("An operator admits a role with `rolegate roles admit ROLE`."),
        _ => admin::needs(problem, hint),
    }
}

impl Wanted {
    fn read(bytes: &[u8]) -> Result<Self, Problem> {
        let members: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| {
            if error.is_data() {
                Problem::at("body", "is no object").hint("Send an object with `role`.")
            } else {
                Problem::new(ErrorCode::ParseError)
            }
        })?;
        let known = ["role", "description", "expires_in", "scopes"];
        if let Some(name) = members.keys().find(|name| !known.contains(&&***name)) {
            return Err(Problem::at(name, "is not a member here")
                .hint(format!("There are: {}.", known.join(", "))));
        }
        Ok(Self {
            role: role(members.get("role"))?,
            description: description(members.get("description"))?,
            expires_in: expires_in(members.get("expires_in"))?,
            scopes: scopes(members.get("scopes"))?,
        })
    }
}

fn role(value: Option<&Value>) -> Result<RoleName, Problem> {
    let hint = "It is the name of a role, a string.";
    let name = value
        .and_then(Value::as_str)
        .ok_or_else(|| Problem::at("role", "is missing, or not a string").hint(hint))?;
    RoleName::new(name).map_err(|error| {
        Problem::at("role", "is no role that a token can have").hint(format!("{error}."))
    })
}

fn description(value: Option<&Value>) -> Result<String, Problem> {
    let text = match value {
        None => "",
        Some(Value::String(text)) => text,
        Some(_) => return Err(Problem::at("description", "is not a string").hint("Leave it out.")),
    };
    if text.len() > MAX_DESCRIPTION_BYTES || text.chars().any(char::is_control) {
        return Err(
            Problem::at("description", "is too long, or has control characters").hint(format!(
                "At most {MAX_DESCRIPTION_BYTES} bytes, in one line."
            )),
        );
    }
    Ok(text.to_owned())
}

fn expires_in(value: Option<&Value>) -> Result<Option<u64>, Problem> {
    match value {
        None => Ok(Some(DEFAULT_SECONDS)),
        // By name: nobody gets a token for ever by leaving something out.
        Some(Value::String(text)) if text == "never" => Ok(None),
        Some(value) => value
            .as_u64()
            .filter(|seconds| (MIN_SECONDS..=MAX_SECONDS).contains(seconds))
            .map(Some)
            .ok_or_else(|| {
                Problem::at("expires_in", "is out of bounds").hint(format!(
                    "{MIN_SECONDS} to {MAX_SECONDS} whole seconds, or \"never\"."
                ))
            }),
    }
}

fn scopes(value: Option<&Value>) -> Result<Option<Scopes>, Problem> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    // A list would be read as the members in their order.
    let scopes: Option<Scopes> = value
        .is_object()
        .then(|| serde_json::from_value(value.clone()).ok())
        .flatten();
    let scopes = scopes.ok_or_else(|| {
        Problem::at("scopes", "are not understood")
            .hint("An object with the lists of strings `functions`, `surfaces`, or one of the two.")
    })?;
    for (index, pattern) in scopes.functions.iter().flatten().enumerate() {
        let long = pattern.is_empty() || pattern.len() > MAX_SCOPE_BYTES;
        if long || index >= MAX_SCOPES || pattern.chars().any(char::is_control) {
            return Err(
                Problem::at(&format!("scopes.functions[{index}]"), "is out of bounds").hint(
                    format!("At most {MAX_SCOPES} names of 1 to {MAX_SCOPE_BYTES} bytes."),
                ),
            );
        }
    }
    for (index, surface) in scopes.surfaces.iter().flatten().enumerate() {
        if index >= MAX_SCOPES || !SURFACES.contains(&surface.as_str()) {
            return Err(
                Problem::at(&format!("scopes.surfaces[{index}]"), "is no surface")
                    .hint(format!("There are: {}.", SURFACES.join(", "))),
            );
        }
    }
    Ok(Some(scopes))
}

pub(crate) fn describe() -> Value {
    let minted = json!({
        "token_id": describe::uuid(),
        "token": {"type": "string", "description": "The token. It is shown here and never again."},
        "role": {"type": "string"},
        "description": {"type": "string"},
        "scopes": {"anyOf": [describe::scopes(), {"type": "null"}]},
        "expires_at": describe::time_or_null(),
    });
    let expires_in = json!({
        "description": "Seconds until it expires, or `never`.",
        "oneOf": [
            {"type": "integer", "minimum": MIN_SECONDS, "maximum": MAX_SECONDS},
            {"const": "never"},
        ],
        "default": DEFAULT_SECONDS,
    });
    let wanted = json!({
        "type": "object",
        "required": ["role"],
        "additionalProperties": false,
        "properties": {
            "role": {"type": "string", "minLength": 1, "maxLength": MAX_IDENTIFIER_BYTES},
            "description": {"type": "string", "maxLength": MAX_DESCRIPTION_BYTES, "default": ""},
            "expires_in": expires_in,
            "scopes": {"anyOf": [describe::scopes(), {"type": "null"}]},
        },
    });
    json!({
        "operationId": "mintToken",
        "summary": "Mints an API token for a role",
        "description": "For members of rolegate_operator that are members of the role as well.",
        "parameters": [describe::database()],
        "requestBody": {
            "required": true,
            "content": {"application/json": {"schema": wanted}},
        },
        "responses": describe::responses(
            &json!({"201": describe::answer("The token", &describe::object(&minted))}),
            &[
                ErrorCode::InvalidParams, ErrorCode::BodyTooLarge, ErrorCode::UnsupportedMediaType,
            ],
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(body: &Value) -> String {
        let problem = Wanted::read(body.to_string().as_bytes()).expect_err("it is refused");
        assert_eq!(problem.code, ErrorCode::InvalidParams, "{body}");
        assert!(problem.hint.is_some(), "{body}");
        let data = problem.data.expect("a path");
        data["path"].as_str().expect("a text").to_owned()
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let wanted = Wanted::read(br#"{"role": "ann"}"#).expect("enough");
        assert_eq!(wanted.expires_in, Some(90 * 86_400));
        assert_eq!((wanted.description.as_str(), wanted.scopes), ("", None));
    }

    #[test]
    fn bounds_hold_at_their_edges() {
        let accepted = |body: &Value| Wanted::read(body.to_string().as_bytes()).is_ok();
        for (seconds, fits) in [
            (0, false),
            (MIN_SECONDS - 1, false),
            (MIN_SECONDS, true),
            (MAX_SECONDS, true),
            (MAX_SECONDS + 1, false),
            (u64::MAX, false),
        ] {
            let body = json!({"role": "ann", "expires_in": seconds});
            assert_eq!(accepted(&body), fits, "{seconds}");
        }
        for (bytes, fits) in [(0, true), (500, true), (501, false)] {
            let body = json!({"role": "ann", "description": "x".repeat(bytes)});
            assert_eq!(accepted(&body), fits, "{bytes} bytes");
        }
        for (entries, fits) in [(0, true), (100, true), (101, false)] {
            let body = json!({"role": "ann", "scopes": {"functions": vec!["api.f"; entries]}});
            assert_eq!(accepted(&body), fits, "{entries} entries");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (body, path) in [
            (json!({}), "role"),
            (json!([]), "body"),
            (json!({"role": 1}), "role"),
            (json!({"role": "public"}), "role"),
            (json!({"role": "x".repeat(64)}), "role"),
            (json!({"role": "ann", "expires": 60}), "expires"),
            (json!({"role": "ann", "expires_in": null}), "expires_in"),
            (json!({"role": "ann", "expires_in": -60}), "expires_in"),
            (json!({"role": "ann", "expires_in": 60.5}), "expires_in"),
            (json!({"role": "ann", "expires_in": "60"}), "expires_in"),
            (
                json!({"role": "ann", "description": "a\u{0}b"}),
                "description",
            ),
            (json!({"role": "ann", "description": null}), "description"),
            (json!({"role": "ann", "scopes": []}), "scopes"),
            (json!({"role": "ann", "scopes": {"function": []}}), "scopes"),
            (
                json!({"role": "ann", "scopes": {"functions": [""]}}),
                "scopes.functions[0]",
            ),
            (
                json!({"role": "ann", "scopes": {"surfaces": ["calls", "call"]}}),
                "scopes.surfaces[1]",
            ),
        ] {
            assert_eq!(path_of(&body), path, "{body}");
        }
        let broken = Wanted::read(b"{").expect_err("no JSON");
        assert_eq!(broken.code, ErrorCode::ParseError);
    }
}
