//! `POST` and `GET /api/{database}/{method}`: one call.

use std::fmt::Write as _;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rolegate_model::ErrorCode;
use rolegate_pg::session::Access;
use rolegate_rpc::envelope::parse_path_call;
use rolegate_rpc::{CallError, Params, Shape};

use super::etag::is_unchanged;
use super::rpc::{self, MAX_DEPTH};
use super::{body, session};
use crate::call::{CallResult, Session};
use crate::extract::{PathParts, QueryPairs};
use crate::idempotency;
use crate::ndjson;
use crate::problem::Problem;
use crate::request::RequestContext;
use crate::router::App;

/// A call whose body is an envelope or just the params.
pub(crate) async fn post(
    State(app): State<App>,
    PathParts((database, method)): PathParts<(String, String)>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        app.database(&database)?;
        let bytes = body::read(app.config(), &headers, body, app.config().max_body_bytes).await?;
        let call = match parse_path_call(&bytes, &method, MAX_DEPTH) {
            Ok(call) => call,
            Err(rejected) => return Err(Problem::from(&rejected.error)),
        };
        let session = session::session(&app, &database, &context, &headers).await?;
        if wants_lines(&headers) && !call.envelope {
            let key = idempotency::key(&headers)?;
            idempotency::refuse(
                key.as_deref(),
                "A stream is not stored; ask for application/json.",
            )?;
            let params = Params::from_json(call.params).map_err(CallError::from)?;
            return lines(session, &method, &params).await;
        }
        let key = idempotency::key(&headers)?.or(call.idempotency_key.map(Into::into));
        let result = rpc::dispatch(&app, &session, &method, call.params, key.as_deref()).await;
        match (call.envelope, call.id) {
            (true, None) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                Ok(response)
            }
            (true, id) => Ok(rpc::single(result, id, &context)),
            (false, _) => result.map(bare),
        }
    };
    let response = answer
        .await
        .unwrap_or_else(|problem: Problem| problem.into_response_for(&context));
    rpc::with_allow(response)
}

/// A call of a STABLE or IMMUTABLE function, read only, with an `ETag`.
pub(crate) async fn get(
    State(app): State<App>,
    PathParts((database, method)): PathParts<(String, String)>,
    query: QueryPairs,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let session = session::session(&app, &database, &context, &headers).await?;
        let params = Params::from_query(query.into_pairs());
        if wants_lines(&headers) {
            return lines(session, &method, &params).await;
        }
        let call = session.prepare(&method, &params).await?;
        if call.access != Access::ReadOnly {
            return Err(Problem::new(ErrorCode::MethodNotAllowed)
                .hint("GET calls STABLE and IMMUTABLE functions; call this one with POST."));
        }
        let result = session.run(call).await?;
        Ok(tagged(result, &headers))
    };
    let response = answer
        .await
        .unwrap_or_else(|problem: Problem| problem.into_response_for(&context));
    rpc::with_allow(response)
}

/// Rows as they come, one JSON text a line.
async fn lines(session: Session, method: &str, params: &Params<'_>) -> Result<Response, Problem> {
    let call = session.prepare(method, params).await?;
    if call.shape != Shape::Rows {
        return Err(Problem::new(ErrorCode::InvalidRequest)
            .message("Only functions that return a set can be streamed.")
            .hint("Ask for application/json."));
    }
    if session.context.method == http::Method::GET && call.access != Access::ReadOnly {
        return Err(Problem::new(ErrorCode::MethodNotAllowed));
    }
    ndjson::respond(session, call).await
}

fn bare(result: CallResult) -> Response {
    let mut response = rpc::json(result.status.unwrap_or(StatusCode::OK), result.json);
    response.headers_mut().extend(result.headers);
    response
}

/// The result with a validator; 304 if the client has it already. A cache must ask every time:
/// what one caller sees is not what another one sees.
fn tagged(result: CallResult, headers: &HeaderMap) -> Response {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &result.json);
    let mut tag = String::with_capacity(34);
    tag.push('"');
    for byte in &digest.as_ref()[..16] {
        // Writing to a String cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    let unchanged = result.status.is_none() && is_unchanged(headers, &tag);
    let mut response = if unchanged {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        rpc::json(result.status.unwrap_or(StatusCode::OK), result.json)
    };
    let own = response.headers_mut();
    // Weak, because compressed it has other bytes.
    if let Ok(tag) = HeaderValue::from_str(&["W/", &tag].concat()) {
        own.insert(header::ETAG, tag);
    }
    own.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    own.insert(
        header::VARY,
        HeaderValue::from_static("authorization, accept, accept-encoding"),
    );
    own.extend(result.headers);
    response
}

fn wants_lines(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("application/x-ndjson"))
}
