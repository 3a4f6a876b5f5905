//! `POST /query` and `GET /query`: one SQL query, answered to whoever may have the rows.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use rolegate_model::ErrorCode;
use rolegate_query::encode::Format;

use super::{body, session};
use crate::call::Session;
use crate::extract::QueryPairs;
use crate::problem::Problem;
use crate::query::{self, Answer, Asked, Scope};
use crate::request::RequestContext;
use crate::router::App;

/// The header that says who may share an answer: `public` or `private`.
pub(super) const SCOPE: HeaderName = HeaderName::from_static("rolegate-scope");

pub(crate) async fn post(
    State(app): State<App>,
    query: QueryPairs,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        query.only(&[])?;
        let (session, asked) = from_body(&app, &context, &headers, body).await?;
        respond(&session, &asked, &headers).await
    };
    finish(answer.await, &context)
}

pub(crate) async fn get(
    State(app): State<App>,
    query: QueryPairs,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        query.only(&["sql", "params", "database"])?;
        let database = database(&app, query.once("database")?)?;
        let session = session::session(&app, &database, &context, &headers).await?;
        let asked = Asked::from_query(query.once("sql")?, query.once("params")?, None)?;
        respond(&session, &asked, &headers).await
    };
    finish(answer.await, &context)
}

/// The caller, and what he asks for in the body.
pub(super) async fn from_body(
    app: &App,
    context: &RequestContext,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Session, Asked), Problem> {
    let bytes = body::read(app.config(), headers, body, app.config().max_body_bytes).await?;
    let asked = Asked::from_json(&bytes);
    // Who may not come in hears nothing about what he asks.
    let named = asked
        .as_ref()
        .ok()
        .and_then(|asked| asked.database.as_deref());
    let database = database(app, named)?;
    let session = session::session(app, &database, context, headers).await?;
    Ok((session, asked?))
}

/// The database that is meant: the one that is named, or the only one.
pub(super) fn database(app: &App, named: Option<&str>) -> Result<String, Problem> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let mut databases = app.databases();
    match (databases.next(), databases.next()) {
        (Some(only), None) => Ok(only.name().to_owned()),
        _ => Err(Problem::at("database", "is missing").hint("There is more than one: name it.")),
    }
}

async fn respond(
    session: &Session,
    asked: &Asked,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let format = format(headers);
    let answer = query::answer(session, asked, format).await?;
    Ok(whole(answer, format))
}

fn whole(answer: Answer, format: Format) -> Response {
    let kept = match answer.scope {
        // Nothing tells yet when it stops being true.
        Scope::Public => HeaderValue::from_static("no-store"),
        Scope::Private => HeaderValue::from_static("private, no-store"),
    };
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static(format.media_type()),
        ),
        (header::CACHE_CONTROL, kept),
        (SCOPE, HeaderValue::from_static(answer.scope.as_str())),
    ];
    (headers, answer.body).into_response()
}

/// The first form of `Accept` that there is; JSON for everything else.
fn format(headers: &HeaderMap) -> Format {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let mut ranges = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim());
    ranges
        .find_map(|range| match range {
            "application/json" | "*/*" | "application/*" => Some(Format::Json),
            "application/x-ndjson" => Some(Format::Ndjson),
            "text/csv" | "text/*" => Some(Format::Csv),
            _ => None,
        })
        .unwrap_or(Format::Json)
}

/// Errors are never kept, wherever they come from.
pub(super) fn finish(answer: Result<Response, Problem>, context: &RequestContext) -> Response {
    let mut response = answer.unwrap_or_else(|problem| {
        if problem.code == ErrorCode::QueryRefused {
            tracing::debug!(request_id = %context.id, message = %problem.message, "query_refused");
        }
        let mut response = problem.into_response_for(context);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    });
    let vary = HeaderValue::from_static("accept, authorization");
    response.headers_mut().append(header::VARY, vary);
    response
}
