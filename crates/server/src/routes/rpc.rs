//! `POST /api/{database}`: JSON-RPC 2.0, single or batch.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use futures_util::{FutureExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rolegate_model::ErrorCode;
use rolegate_rpc::Params;
use rolegate_rpc::envelope::{self, BatchWriter, Bounds, Entry, Rejected, write_result};
use serde_json::value::RawValue;

use super::{body, login, openapi, session};
use crate::call::{CallResult, Session, one_result};
use crate::extract::PathParts;
use crate::idempotency;
use crate::problem::Problem;
use crate::request::RequestContext;
use crate::router::App;

/// Levels of nesting of a body.
pub(crate) const MAX_DEPTH: usize = 128;

pub(crate) async fn handle(
    State(app): State<App>,
    PathParts(database): PathParts<String>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let response = answer(&app, &database, &context, &headers, body)
        .await
        .unwrap_or_else(|problem| rpc_problem(&problem, None, &context));
    with_allow(response)
}

async fn answer(
    app: &App,
    database: &str,
    context: &RequestContext,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    // Nobody unknown gets us to read a body.
    app.database(database)?;
    let bytes = body::read(app.config(), headers, body, app.config().max_body_bytes).await?;
    let bounds = Bounds {
        max_batch: app.config().max_batch,
        max_depth: MAX_DEPTH,
    };
    let parsed = envelope::parse(&bytes, bounds)?;
    // What is rare is boxed: the future of every request has room for all it may wait for.
    if let envelope::Body::Single(Ok(request)) = &parsed
        && request.method == "login"
    {
        let token = Box::pin(login::by_params(app, database, context, request.params)).await;
        return Ok(single(token.map(CallResult::of_json), request.id, context));
    }
    let session = session::session(app, database, context, headers).await?;
    match parsed {
        envelope::Body::Single(entry) => Ok(one(app, &session, entry, headers).await),
        envelope::Body::Batch(entries) => {
            let key = idempotency::key(headers)?;
            idempotency::refuse(key.as_deref(), KEYS_OF_A_BATCH)?;
            if !is_atomic(headers) {
                return Ok(Box::pin(batch(app, &session, entries)).await);
            }
            for request in entries.iter().flatten() {
                idempotency::refuse(request.idempotency_key.as_deref(), KEYS_OF_ONE_TRANSACTION)?;
            }
            Ok(Box::pin(atomic(app, &session, entries)).await)
        }
    }
}

const KEYS_OF_A_BATCH: &str =
    "Each request of a batch has a key of its own in the member idempotencyKey.";
const KEYS_OF_ONE_TRANSACTION: &str =
    "Results of a batch with Rolegate-Atomic are not stored; send the call alone.";

/// One request and its answer.
async fn one(app: &App, session: &Session, entry: Entry<'_>, headers: &HeaderMap) -> Response {
    let request = match entry {
        Ok(request) => request,
        Err(rejected) => return rejection(&rejected, &session.context),
    };
    let key = match idempotency::key(headers) {
        Ok(key) => key.or(request.idempotency_key.as_deref().map(str::to_owned)),
        Err(problem) => return rpc_problem(&problem, request.id, &session.context),
    };
    let result = dispatch(
        app,
        session,
        &request.method,
        request.params,
        key.as_deref(),
    )
    .await;
    if request.is_notification() {
        return StatusCode::NO_CONTENT.into_response();
    }
    single(result, request.id, &session.context)
}

/// A method of ours, or a function.
pub(crate) async fn dispatch(
    app: &App,
    session: &Session,
    method: &str,
    params: Option<&RawValue>,
    key: Option<&str>,
) -> Result<CallResult, Problem> {
    if method == "capabilities" {
        let capabilities = Box::pin(openapi::capabilities(session)).await;
        return capabilities.map(CallResult::of_json);
    }
    let params = Params::from_json(params).map_err(rolegate_rpc::CallError::from)?;
    let call = session.prepare(method, &params).await?;
    match key {
        Some(key) if !session.dry_run => {
            Box::pin(idempotency::run(app.config(), session, call, key)).await
        }
        _ => session.run(call).await,
    }
}

/// Independent calls, several at a time, answered in their order.
async fn batch(app: &App, session: &Session, entries: Vec<Entry<'_>>) -> Response {
    let mut calls = Vec::with_capacity(entries.len());
    for entry in entries {
        calls.push(batch_element(app, session, entry).boxed());
    }
    let concurrency = app.config().batch_concurrency.max(1);
    let answers: Vec<Option<BytesMut>> = stream::iter(calls).buffered(concurrency).collect().await;
    finish_batch(answers)
}

/// One element of a batch; `None` for a notification.
async fn batch_element(app: &App, session: &Session, entry: Entry<'_>) -> Option<BytesMut> {
    let request = match entry {
        Ok(request) => request,
        Err(rejected) => return Some(rejected_element(&rejected, &session.context)),
    };
    let key = request.idempotency_key.as_deref();
    let result = if request.method == "login" {
        Err(Problem::new(ErrorCode::InvalidRequest).message("login is not possible in a batch."))
    } else {
        dispatch(app, session, &request.method, request.params, key).await
    };
    (!request.is_notification()).then(|| element(result, request.id, &session.context))
}

/// All calls in one transaction: all results, or the error and nothing done.
async fn atomic(app: &App, session: &Session, entries: Vec<Entry<'_>>) -> Response {
    let context = &session.context;
    let mut prepared = Vec::with_capacity(entries.len());
    let mut failure = None;
    for (index, entry) in entries.iter().enumerate() {
        let call = match entry {
            Ok(request) => prepare(session, &request.method, request.params).await,
            Err(rejected) => Err(Problem::from(&rejected.error)),
        };
        match call {
            Ok(call) => prepared.push(call),
            Err(problem) => {
                failure = Some((index, problem));
                break;
            }
        }
    }
    debug_assert!(entries.len() <= app.config().max_batch);
    let shapes: Vec<_> = prepared.iter().map(|call| call.shape.clone()).collect();
    let outcome = match failure {
        Some(failure) => Err(failure),
        None => session.run_all(prepared, None).await.map_err(|error| {
            let index = error.statement().unwrap_or(usize::MAX);
            (index, Problem::from(error))
        }),
    };
    let answers = entries.iter().enumerate().map(|(index, entry)| {
        let id = match entry {
            Ok(request) => request.id,
            Err(rejected) => rejected.id,
        };
        if matches!(entry, Ok(request) if request.is_notification()) {
            return None;
        }
        let result = match &outcome {
            Ok(reply) => Ok(one_result(&shapes[index], &reply.only(index))),
            // An error that belongs to no single call (a deferred constraint) is everybody's.
            Err((at, problem)) if *at == index || *at == usize::MAX => Err(problem.clone()),
            Err(_) => Err(Problem::new(ErrorCode::BatchAborted)),
        };
        Some(element(result, id, context))
    });
    finish_batch(answers)
}

async fn prepare(
    session: &Session,
    method: &str,
    params: Option<&RawValue>,
) -> Result<rolegate_rpc::Call, Problem> {
    let params = Params::from_json(params).map_err(rolegate_rpc::CallError::from)?;
    session.prepare(method, &params).await
}

fn is_atomic(headers: &HeaderMap) -> bool {
    headers
        .get("rolegate-atomic")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

fn finish_batch(answers: impl IntoIterator<Item = Option<BytesMut>>) -> Response {
    let mut writer = BatchWriter::new();
    for answer in answers.into_iter().flatten() {
        writer.push(&answer);
    }
    match writer.finish() {
        Some(body) => json(StatusCode::OK, body.freeze()),
        // Notifications only.
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

fn element(
    result: Result<CallResult, Problem>,
    id: Option<&RawValue>,
    context: &RequestContext,
) -> BytesMut {
    let mut out = BytesMut::new();
    match result {
        Ok(result) => write_result(&mut out, id, &result.json),
        Err(problem) => problem.write_rpc(&mut out, id, &context.id),
    }
    out
}

fn rejected_element(rejected: &Rejected<'_>, context: &RequestContext) -> BytesMut {
    let mut out = BytesMut::new();
    Problem::from(&rejected.error).write_rpc(&mut out, rejected.id, &context.id);
    out
}

/// The envelope of one result, with the status and headers the function asked for.
pub(crate) fn single(
    result: Result<CallResult, Problem>,
    id: Option<&RawValue>,
    context: &RequestContext,
) -> Response {
    match result {
        Ok(result) => {
            let mut out = BytesMut::new();
            write_result(&mut out, id, &result.json);
            let mut response = json(result.status.unwrap_or(StatusCode::OK), out.freeze());
            response.headers_mut().extend(result.headers);
            response
        }
        Err(problem) => rpc_problem(&problem, id, context),
    }
}

fn rejection(rejected: &Rejected<'_>, context: &RequestContext) -> Response {
    rpc_problem(&Problem::from(&rejected.error), rejected.id, context)
}

/// An error as a JSON-RPC answer with its HTTP status.
pub(crate) fn rpc_problem(
    problem: &Problem,
    id: Option<&RawValue>,
    context: &RequestContext,
) -> Response {
    let mut out = BytesMut::new();
    problem.write_rpc(&mut out, id, &context.id);
    let mut response = json(problem.status, out.freeze());
    problem.decorate(response.headers_mut());
    response
}

/// With what RFC 9110 wants of a 405, whoever said it: a function that is called by GET and may
/// write, one that writes although it is declared not to, or one that sets this status itself.
/// What may write is called with POST. The router has its own list for a path without the method.
pub(crate) fn with_allow(mut response: Response) -> Response {
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers_mut().entry(header::ALLOW);
        allow.or_insert(HeaderValue::from_static("POST"));
    }
    response
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Response {
    const JSON: HeaderValue = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, JSON)], body).into_response()
}
