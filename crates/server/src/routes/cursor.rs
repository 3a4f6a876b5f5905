//! `GET /q/{hash}/{version}`: an answer for everybody that never changes under its address.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use percent_encoding::percent_decode_str;
use rolegate_model::ErrorCode;
use rolegate_query::cache::{Digest, Entry, Hash, Version};
use rolegate_query::encode::Format;
use rolegate_replication::Feed;

use super::query::{LSN, SCOPE, finish, media_type, put_purge, put_shared, unless_unchanged};
use crate::call::Session;
use crate::database::Database;
use crate::identity;
use crate::problem::Problem;
use crate::query::{self, Answer, Scope, Source};
use crate::request::RequestContext;
use crate::router::App;

pub(crate) async fn get(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    // As it came: an extractor for the headers would copy all of them.
    let asked = request.into_parts().0;
    let answer = async {
        let Some((hash, version)) = address(asked.uri.path()) else {
            return Err(Problem::new(ErrorCode::NotFound)
                .message("This is no address of an answer.")
                .hint("Follow the Location that POST /query gives."));
        };
        let found = find(&app, &context, hash, &version).await?;
        Ok(match found {
            Found::Here(database, entry) => {
                // Of two positions with the same bytes each is an address of its own.
                let (etag, lsn) = if entry.version == version {
                    (entry.etag.clone(), entry.lsn.clone())
                } else {
                    (etag_of(hash, &version), version.lsn.to_string().into())
                };
                let response = unless_unchanged(&entry, &etag, &asked.headers).await;
                named(response, &database, &lsn, &entry.purge)
            }
            Found::Same {
                database,
                format,
                body,
                purge,
            } => {
                let etag = etag_of(hash, &version);
                let mut response =
                    ([(header::CONTENT_TYPE, media_type(format))], body).into_response();
                put_shared(response.headers_mut(), header::ETAG, &etag);
                let lsn = version.lsn.to_string().into();
                let mut response = named(response, &database, &lsn, &purge);
                if database.feed.as_ref().and_then(Feed::epoch).is_none() {
                    response.headers_mut().remove(LSN);
                }
                response
            }
            Found::Moved(entry) => moved(&context, &entry),
        })
    };
    finish(answer.await, &context)
}

/// What the path `/q/{hash}/{version}` names. None of its characters has to be coded, and who does so all the same
/// means the same.
fn address(path: &str) -> Option<(Hash, Version)> {
    if path.contains('%') {
        let plain = percent_decode_str(path).decode_utf8().ok()?;
        return if plain.contains('%') {
            None
        } else {
            address(&plain)
        };
    }
    let (hash, version) = path.strip_prefix("/q/")?.split_once('/')?;
    Some((hash.parse().ok()?, version.parse().ok()?))
}

enum Found {
    /// It is kept.
    Here(Arc<Database>, Arc<Entry>),
    /// It is not kept here, and these are its bytes.
    Same {
        database: Arc<Database>,
        format: Format,
        body: Bytes,
        purge: Bytes,
    },
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
    let databases: Vec<_> = app.databases().filter(|one| one.shelf.is_some()).collect();
    // Those that know it by themselves, before others are asked.
    for database in &databases {
        if let Some(source) = query::known_source(database, hash) {
            let session = anonymous(database, context).await?;
            return again(&session, &source, version).await;
        }
    }
    let mut away = None;
    for database in databases {
        match asked(database, context, hash).await {
            Ok(Some((session, source))) => return again(&session, &source, version).await,
            Ok(None) => {}
            // It may be one of another database.
            Err(problem) => away = Some(problem),
        }
    }
    Err(away.unwrap_or_else(gone))
}

async fn anonymous(database: &Arc<Database>, context: &RequestContext) -> Result<Session, Problem> {
    Ok(Session {
        database: Arc::clone(database),
        caller: identity::anonymous(database, context).await?,
        context: context.clone(),
        dry_run: false,
        for_everybody: false,
    })
}

/// The query, if the database has it written down.
async fn asked(
    database: &Arc<Database>,
    context: &RequestContext,
    hash: Hash,
) -> Result<Option<(Session, Arc<Source>)>, Problem> {
    let session = anonymous(database, context).await?;
    let source = query::source(&session, hash).await?;
    Ok(source.map(|source| (session, source)))
}

/// Makes the answer again. It is the one that was asked for if it has the same bytes.
async fn again(session: &Session, source: &Source, version: &Version) -> Result<Found, Problem> {
    let database = &session.database;
    let answer = query::answer(session, &source.wanted, source.format, None).await;
    match answer {
        Ok(Answer::Kept { entry, current }) if entry.is(version, current) => {
            Ok(Found::Here(Arc::clone(database), entry))
        }
        Ok(Answer::Kept { entry, .. }) => Ok(Found::Moved(entry)),
        // Where the stream is not followed nobody knows the epoch, or whether that position was come to.
        Ok(Answer::Once {
            scope: Scope::Public,
            body,
            purge,
        }) if Digest::of(&body) == version.digest && could_be(database, version) => {
            Ok(Found::Same {
                database: Arc::clone(database),
                format: source.format,
                body,
                purge,
            })
        }
        Ok(Answer::Once { .. }) => Err(gone()),
        // It is not for everybody any more.
        Err(problem) if problem.status.is_client_error() && problem.retry_after.is_none() => {
            Err(gone())
        }
        Err(problem) => Err(problem),
    }
}

/// Whether an answer of now can have this version, as far as this process knows.
fn could_be(database: &Database, version: &Version) -> bool {
    let feed = database.feed.as_ref();
    let Some(epoch) = feed.and_then(Feed::epoch) else {
        return true;
    };
    let passed = feed.and_then(Feed::passed).unwrap_or_default();
    epoch == version.epoch && version.lsn <= passed
}

fn etag_of(hash: Hash, version: &Version) -> Bytes {
    format!("\"{hash}:{version}\"").into()
}

/// Under its name, for as long as caches like.
fn named(mut response: Response, database: &Database, lsn: &Bytes, purge: &Bytes) -> Response {
    let headers = response.headers_mut();
    if let Some(shelf) = &database.shelf {
        headers.insert(header::CACHE_CONTROL, shelf.lasting.clone());
    }
    put_purge(headers, &database.config, purge);
    put_shared(headers, LSN, lsn);
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
