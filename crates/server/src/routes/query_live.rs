//! `POST /query?live=true` and `GET /query?live=true`: the rows, and what becomes different.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use rolegate_model::ErrorCode;

use super::query::SCOPE;
use crate::call::Session;
use crate::extract::QueryPairs;
use crate::live::Member;
use crate::problem::Problem;
use crate::query::Wanted;
use crate::router::App;

/// Parameters that only live queries have.
pub(super) const PARAMETERS: [&str; 2] = ["live", "last_event_id"];

/// Whether a live query is asked for.
pub(super) fn is_wanted(query: &QueryPairs) -> Result<bool, Problem> {
    match query.once("live")? {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Problem::at("live", "is neither true nor false")),
    }
}

/// Opens the stream.
pub(super) async fn respond(
    app: &App,
    session: Session,
    wanted: &Wanted,
    query: &QueryPairs,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let last = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        // For clients that can't set the header.
        .or(query.once("last_event_id")?);
    let taken = session
        .database
        .streams
        .take(app.config().max_streams)
        .ok_or_else(|| Problem::new(ErrorCode::Overloaded).retry_after(Duration::from_secs(5)))?;
    let live = Arc::clone(&session.database.live);
    let membership = live.join(&session, wanted.read()?).await?;
    let scope = membership.scope().as_str();
    let member = Box::new(Member::new(app, membership, session, headers, last, taken));
    let frames = stream::unfold(member, |mut member| async move {
        let frame = member.next().await?;
        Some((Ok::<_, Infallible>(frame), member))
    });
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Some proxies gather an answer before they pass it on.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
        (SCOPE, HeaderValue::from_static(scope)),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}
