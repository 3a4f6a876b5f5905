//! A request to the admin API: its parts, and its answer.

use std::collections::HashMap;
use std::fmt::Write as _;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rolegate_model::ErrorCode;

use super::members::Members;
use super::{admin, body, rpc};
use crate::call::Session;
use crate::extract::{PathParts, QueryPairs};
use crate::problem::Problem;
use crate::request::RequestContext;
use crate::router::App;

/// What a value in a link's query is not written as.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A request, before anybody knows whose it is.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) app: App,
    pub(crate) context: RequestContext,
    pub(crate) headers: HeaderMap,
    pub(crate) query: QueryPairs,
    path: HashMap<String, String>,
}

impl FromRequestParts<App> for Asked {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let PathParts(path) = PathParts::from_request_parts(parts, app).await?;
        let Ok(query) = QueryPairs::from_request_parts(parts, app).await;
        // Every surface gives it to every request.
        let context = parts
            .extensions
            .get::<RequestContext>()
            .cloned()
            .ok_or_else(|| Problem::new(ErrorCode::Internal).into_anonymous_response())?;
        Ok(Self {
            app: app.clone(),
            context,
            headers: parts.headers.clone(),
            query,
            path,
        })
    }
}

impl Asked {
    /// Somebody who may try to run `function`.
    pub(crate) async fn session(&self, function: &str) -> Result<Session, Problem> {
        let database = self.part("database");
        admin::session(&self.app, database, &self.context, &self.headers, function).await
    }

    /// A variable part of the path.
    pub(crate) fn part(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// The path's job.
    pub(crate) fn job_id(&self) -> Result<i64, Problem> {
        job_id(self.part("id"))
            .ok_or_else(|| Problem::at("id", "is no job's id").hint("A whole number above zero."))
    }

    /// A name in the path that PostgreSQL can look up. One that it can't is nobody's.
    pub(crate) fn name(&self, part: &str) -> Result<String, Problem> {
        let name = self.part(part);
        if name.is_empty() || name.contains('\0') {
            return Err(Problem::new(ErrorCode::NotFound));
        }
        Ok(name.to_owned())
    }

    /// The body, an object with none but these members; without a body one without any.
    pub(crate) async fn members(&self, body: Body, known: &[&str]) -> Result<Members, Problem> {
        self.larger_members(body, known, admin::MAX_BODY_BYTES)
            .await
    }

    /// The same, of up to so many bytes.
    pub(crate) async fn larger_members(
        &self,
        body: Body,
        known: &[&str],
        limit: usize,
    ) -> Result<Members, Problem> {
        let bytes = body::read(self.app.config(), &self.headers, body, limit).await?;
        Members::read(&bytes, known)
    }

    /// `Link` to the page that begins below `before`, with the same filters.
    pub(crate) fn next_page(&self, before: i64) -> Option<HeaderValue> {
        let mut link = format!("<{}?before_id={before}", self.context.path);
        for (name, value) in self.query.pairs() {
            if name != "before_id" {
                let value = utf8_percent_encode(value, QUERY);
                let name = utf8_percent_encode(name, QUERY);
                // Writing to a String cannot fail.
                let _ = write!(link, "&{name}={value}");
            }
        }
        link.push_str(">; rel=\"next\"");
        HeaderValue::from_str(&link).ok()
    }

    /// The answer, good or bad.
    pub(crate) fn answer(&self, outcome: Result<Response, Problem>) -> Response {
        outcome.unwrap_or_else(|problem| problem.into_response_for(&self.context))
    }
}

/// A job's id in decimal.
pub(crate) fn job_id(text: &str) -> Option<i64> {
    text.parse().ok().filter(|id| *id > 0)
}

/// JSON that the database made, or 500 if it made none.
pub(crate) fn made(json: Option<Bytes>) -> Result<Response, Problem> {
    let json = json.ok_or_else(|| Problem::new(ErrorCode::Internal))?;
    Ok(rpc::json(StatusCode::OK, json))
}

/// A page of a list, and where the next one is.
pub(crate) fn page(rows: Bytes, next: Option<HeaderValue>) -> Response {
    let mut response = rpc::json(StatusCode::OK, rows);
    if let Some(next) = next {
        response.headers_mut().insert(header::LINK, next);
    }
    response
}
