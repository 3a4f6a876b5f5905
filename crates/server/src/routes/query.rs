//! `POST /query` and `GET /query`: one SQL query, answered to whoever may have the rows.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use rolegate_model::ErrorCode;
use rolegate_query::cache::Entry;
use rolegate_query::encode::Format;
use rolegate_replication::Lsn;

use super::etag::is_unchanged;
use super::session::prefers;
use super::{body, query_live, session};
use crate::call::Session;
use crate::config::DatabaseConfig;
use crate::database::Database;
use crate::extract::QueryPairs;
use crate::problem::Problem;
use crate::query::{self, Answer, Scope, Since, Wanted};
use crate::request::RequestContext;
use crate::router::App;

/// The header that says who may share an answer: `public` or `private`.
pub(super) const SCOPE: HeaderName = HeaderName::from_static("rolegate-scope");
/// The position in the log up to which an answer shows everything.
pub(super) const LSN: HeaderName = HeaderName::from_static("rolegate-lsn");

/// About how many headers an answer has.
const HEADERS: usize = 16;
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

pub(crate) async fn post(
    State(app): State<App>,
    query: QueryPairs,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        query.only(&query_live::PARAMETERS)?;
        let live = query_live::is_wanted(&query)?;
        let (session, wanted) = from_body(&app, &context, &headers, body).await?;
        if live {
            return query_live::respond(&app, session, &wanted, &query, &headers).await;
        }
        let answer = ask(&session, &wanted, &headers).await?;
        Ok(match answer {
            Answer::Kept { entry, current } => {
                let whole = prefers(&headers, "return=representation");
                if whole {
                    representation(&entry, current, &headers).await
                } else {
                    see_other(&entry, current)
                }
            }
            Answer::Once { scope, body, .. } => once(scope, body, format(&headers)),
        })
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
        query.only(&["sql", "params", "database", "live", "last_event_id"])?;
        let live = query_live::is_wanted(&query)?;
        let database = database(&app, query.once("database")?)?;
        let session = session::session(&app, &database, &context, &headers).await?;
        let wanted = Wanted::from_query(query.once("sql")?, query.once("params")?, None)?;
        if live {
            return query_live::respond(&app, session, &wanted, &query, &headers).await;
        }
        let answer = ask(&session, &wanted, &headers).await?;
        Ok(match answer {
            Answer::Kept { entry, current } => {
                fresh(&entry, current, &headers, &session.database).await
            }
            Answer::Once { scope, body, .. } => once(scope, body, format(&headers)),
        })
    };
    finish(answer.await, &context)
}

/// The caller, and what he asks for in the body.
pub(super) async fn from_body(
    app: &App,
    context: &RequestContext,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Session, Wanted), Problem> {
    let bytes = body::read(app.config(), headers, body, app.config().max_body_bytes).await?;
    let wanted = Wanted::from_json(&bytes);
    // Who may not come in hears nothing about what he asks.
    let named = wanted
        .as_ref()
        .ok()
        .and_then(|wanted| wanted.database.as_deref());
    let database = database(app, named)?;
    let session = session::session(app, &database, context, headers).await?;
    Ok((session, wanted?))
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

async fn ask(session: &Session, wanted: &Wanted, headers: &HeaderMap) -> Result<Answer, Problem> {
    query::answer(session, wanted, format(headers), Since::of(headers)?).await
}

/// Where the answer is. It says nothing of the caller, so anybody may fetch it.
fn see_other(entry: &Entry, current: Option<Lsn>) -> Response {
    let mut response = (StatusCode::SEE_OTHER, [(header::CACHE_CONTROL, NO_STORE)]).into_response();
    let headers = response.headers_mut();
    put_shared(headers, header::LOCATION, &entry.path);
    describe(headers, current);
    response
}

/// The answer at once, and where it is.
async fn representation(entry: &Arc<Entry>, current: Option<Lsn>, asked: &HeaderMap) -> Response {
    let mut response = whole(entry, asked).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.insert(
        HeaderName::from_static("preference-applied"),
        HeaderValue::from_static("return=representation"),
    );
    put_shared(headers, header::CONTENT_LOCATION, &entry.path);
    put_shared(headers, header::ETAG, &entry.etag);
    describe(headers, current);
    response
}

/// The answer for a cache that asks again soon.
async fn fresh(
    entry: &Arc<Entry>,
    current: Option<Lsn>,
    asked: &HeaderMap,
    database: &Database,
) -> Response {
    let mut response = unless_unchanged(entry, &entry.etag, asked).await;
    let headers = response.headers_mut();
    // Who has written something is not to get what a cache has had before.
    headers.append(header::VARY, HeaderValue::from_static(Since::HEADERS));
    let shelf = database.shelf.as_ref();
    if let Some(shelf) = shelf.filter(|_| current.is_some() && !Since::is_in(asked)) {
        headers.insert(header::CACHE_CONTROL, shelf.fresh.clone());
        put_purge(headers, &database.config, &entry.purge);
    } else {
        // There is a newer one already, or it was made for who has written something.
        headers.insert(header::CACHE_CONTROL, NO_STORE);
    }
    put_shared(headers, header::CONTENT_LOCATION, &entry.path);
    describe(headers, current);
    response
}

/// The bytes of an answer, or that the client has them.
pub(super) async fn unless_unchanged(
    entry: &Arc<Entry>,
    etag: &Bytes,
    asked: &HeaderMap,
) -> Response {
    let unchanged = std::str::from_utf8(etag).is_ok_and(|etag| is_unchanged(asked, etag));
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        whole(entry, asked).await
    };
    put_shared(response.headers_mut(), header::ETAG, etag);
    response
}

/// The bytes of an answer, in the form that the client takes.
async fn whole(entry: &Arc<Entry>, asked: &HeaderMap) -> Response {
    let (body, coding) = query::packed_body(entry, asked).await;
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    // As many as an answer has in the end: growing takes longer than all of them.
    headers.reserve(HEADERS);
    headers.insert(header::CONTENT_TYPE, media_type(entry.format));
    if let Some(coding) = coding {
        let coding = HeaderValue::from_static(coding.as_str());
        headers.insert(header::CONTENT_ENCODING, coding);
        headers.append(header::VARY, header::ACCEPT_ENCODING.into());
    }
    response
}

fn once(scope: Scope, body: Bytes, format: Format) -> Response {
    let kept = match scope {
        Scope::Public => NO_STORE,
        Scope::Private => HeaderValue::from_static("private, no-store"),
    };
    let headers = [
        (header::CONTENT_TYPE, media_type(format)),
        (header::CACHE_CONTROL, kept),
        (SCOPE, HeaderValue::from_static(scope.as_str())),
    ];
    (headers, body).into_response()
}

fn describe(headers: &mut HeaderMap, current: Option<Lsn>) {
    headers.insert(SCOPE, HeaderValue::from_static(Scope::Public.as_str()));
    if let Some(lsn) = current {
        put(headers, LSN, &lsn.to_string());
    }
}

pub(super) fn media_type(format: Format) -> HeaderValue {
    HeaderValue::from_static(format.media_type())
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Made of hexadecimal digits and our own words.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// What copies of an answer that may be kept elsewhere are purged by.
pub(super) fn put_purge(headers: &mut HeaderMap, config: &DatabaseConfig, keys: &Bytes) {
    if let Some(header) = &config.purge_header {
        header.put(headers, keys);
    }
}

/// What was made of such characters before.
pub(super) fn put_shared(headers: &mut HeaderMap, name: HeaderName, value: &Bytes) {
    if let Ok(value) = HeaderValue::from_maybe_shared(value.clone()) {
        headers.insert(name, value);
    }
}

/// The first form of `Accept` that there is; JSON for everything else.
pub(super) fn format(headers: &HeaderMap) -> Format {
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
            "application/vnd.apache.arrow.stream" => Some(Format::Arrow),
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
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, NO_STORE);
        response
    });
    let headers = response.headers_mut();
    let public = HeaderValue::from_static("public");
    // What everybody gets does not depend on who asks.
    let vary = if headers.get(SCOPE) == Some(&public) {
        "accept"
    } else {
        "accept, authorization"
    };
    headers.append(header::VARY, HeaderValue::from_static(vary));
    response
}
