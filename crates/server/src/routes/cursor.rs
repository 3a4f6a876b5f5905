//! `GET /q/{hash}/{version}`: an answer for everybody that never changes under its address.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rolegate_model::ErrorCode;
use rolegate_query::cache::{Digest, Entry, Hash, Version};
use rolegate_query::encode::Format;

use super::etag::is_unchanged;
use super::query::{LSN, SCOPE, finish, media_type, path, put};
use crate::call::Session;
use crate::database::Database;
use crate::extract::PathParts;
use crate::identity;
use crate::problem::Problem;
use crate::query::{self, Answer, Scope, Source};
use crate::request::RequestContext;
use crate::router::App;

pub(crate) async fn get(
    State(app): State<App>,
    PathParts((hash, version)): PathParts<(String, String)>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let (Ok(hash), Ok(version)) = (hash.parse(), version.parse()) else {
            return Err(Problem::new(ErrorCode::NotFound)
                .message("This is no address of an answer.")
                .hint("Follow the Location that POST /query gives."));
        };
        let found = find(&app, &context, hash, &version).await?;
        Ok(match found {
            Found::Here(database, format, body) => {
                here(&database, hash, &version, format, body, &headers)
            }
            Found::Moved(entry) => moved(&context, &entry),
        })
    };
    finish(answer.await, &context)
}

enum Found {
    /// These are its bytes.
    Here(Arc<Database>, Format, Bytes),
    /// There is a newer one.
    Moved(Arc<Entry>),
}

async fn find(
    app: &App,
    context: &RequestContext,
    hash: Hash,
    version: &Version,
) -> Result<Found, Problem> {
    for database in app.databases() {
        let Some(shelf) = &database.shelf else {
            continue;
        };
        let catalog = database.catalog_state();
        if let Some(entry) = shelf.cache.exactly(hash, version, &catalog) {
            let (format, body) = (entry.format, entry.body.clone());
            return Ok(Found::Here(Arc::clone(database), format, body));
        }
    }
    for database in app.databases().filter(|database| database.shelf.is_some()) {
        let session = Session {
            database: Arc::clone(database),
            caller: identity::anonymous(database, context).await?,
            context: context.clone(),
            dry_run: false,
        };
        if let Some(source) = query::source(&session, hash).await? {
            return again(&session, &source, version).await;
        }
    }
    Err(gone())
}

/// Makes the answer again. It is the one that was asked for if it has the same bytes.
async fn again(session: &Session, source: &Source, version: &Version) -> Result<Found, Problem> {
    let database = &session.database;
    let answer = query::answer(session, &source.wanted, source.format, None).await;
    match answer {
        Ok(Answer::Kept { entry, .. })
            if entry.version.digest == version.digest && entry.version.epoch == version.epoch =>
        {
            let body = entry.body.clone();
            Ok(Found::Here(Arc::clone(database), source.format, body))
        }
        Ok(Answer::Kept { entry, .. }) => Ok(Found::Moved(entry)),
        // Another process reads the stream, and knows the epoch.
        Ok(Answer::Once {
            scope: Scope::Public,
            body,
        }) if Digest::of(&body) == version.digest => {
            Ok(Found::Here(Arc::clone(database), source.format, body))
        }
        Ok(Answer::Once { .. }) => Err(gone()),
        // It is not for everybody any more.
        Err(problem) if problem.status.is_client_error() && problem.retry_after.is_none() => {
            Err(gone())
        }
        Err(problem) => Err(problem),
    }
}

fn here(
    database: &Database,
    hash: Hash,
    version: &Version,
    format: Format,
    body: Bytes,
    headers: &HeaderMap,
) -> Response {
    let etag = format!("\"{hash}:{version}\"");
    let mut response = if is_unchanged(headers, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, media_type(format))], body).into_response()
    };
    let seconds = database.config.query_cache.max_age.as_secs();
    let headers = response.headers_mut();
    put(headers, header::ETAG, &etag);
    put(
        headers,
        header::CACHE_CONTROL,
        &format!("public, max-age={seconds}"),
    );
    put(headers, LSN, &version.lsn.to_string());
    headers.insert(SCOPE, HeaderValue::from_static(Scope::Public.as_str()));
    response
}

/// There is another answer by now, and here is where.
fn moved(context: &RequestContext, entry: &Entry) -> Response {
    let problem = Problem::new(ErrorCode::CursorGone).hint("Follow the Location.");
    let mut response = problem.into_response_for(context);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    put(headers, header::LOCATION, &path(entry));
    response
}

fn gone() -> Problem {
    Problem::new(ErrorCode::CursorGone).hint("Ask again: POST /query.")
}
