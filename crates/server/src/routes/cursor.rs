//! `GET /q/{hash}/{version}`: an answer for everybody that never changes under its address.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use rolegate_model::ErrorCode;
use rolegate_query::cache::{Digest, Entry, Hash, Version};
use rolegate_query::encode::Format;

use super::query::{LSN, SCOPE, finish, media_type, put, put_shared, unless_unchanged};
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
            Found::Here(database, entry) => {
                // Of two positions with the same bytes each is an address of its own.
                let etag = if entry.version == version {
                    entry.etag.clone()
                } else {
                    etag_of(hash, &version)
                };
                let response = unless_unchanged(&entry, &etag, &headers).await;
                named(response, &database, &version)
            }
            Found::Same(database, format, body) => {
                let etag = etag_of(hash, &version);
                let mut response =
                    ([(header::CONTENT_TYPE, media_type(format))], body).into_response();
                put_shared(response.headers_mut(), header::ETAG, &etag);
                named(response, &database, &version)
            }
            Found::Moved(entry) => moved(&context, &entry),
        })
    };
    finish(answer.await, &context)
}

enum Found {
    /// It is kept.
    Here(Arc<Database>, Arc<Entry>),
    /// It is not kept here, and these are its bytes.
    Same(Arc<Database>, Format, Bytes),
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
            return Ok(Found::Here(Arc::clone(database), entry));
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
            Ok(Found::Here(Arc::clone(database), entry))
        }
        Ok(Answer::Kept { entry, .. }) => Ok(Found::Moved(entry)),
        // Another process reads the stream, and knows the epoch.
        Ok(Answer::Once {
            scope: Scope::Public,
            body,
        }) if Digest::of(&body) == version.digest => {
            Ok(Found::Same(Arc::clone(database), source.format, body))
        }
        Ok(Answer::Once { .. }) => Err(gone()),
        // It is not for everybody any more.
        Err(problem) if problem.status.is_client_error() && problem.retry_after.is_none() => {
            Err(gone())
        }
        Err(problem) => Err(problem),
    }
}

fn etag_of(hash: Hash, version: &Version) -> Bytes {
    format!("\"{hash}:{version}\"").into()
}

/// Under its name, for as long as caches like.
fn named(mut response: Response, database: &Database, version: &Version) -> Response {
    let seconds = database.config.query_cache.max_age.as_secs();
    let headers = response.headers_mut();
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
    put_shared(headers, header::LOCATION, &entry.path);
    response
}

fn gone() -> Problem {
    Problem::new(ErrorCode::CursorGone).hint("Ask again: POST /query.")
}
