//! Answers, in words that functions made for Awa read, too.

use axum::Extension;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use rolegate_model::ErrorCode;
use serde_json::{Value, json};

use crate::problem::Problem;
use crate::request::RequestContext;

use super::store::Verdict;

/// A call that counted, now or before.
pub(super) fn done(verdict: &Verdict) -> Response {
    let mut body = json!({ "id": verdict.job, "state": verdict.state });
    if verdict.word == "ignored" {
        body["ignored"] = true.into();
    }
    let kind = [(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    )];
    let mut response = (StatusCode::OK, kind, body.to_string()).into_response();
    if verdict.word == "replay" {
        response.headers_mut().insert(
            HeaderName::from_static("idempotency-replayed"),
            HeaderValue::from_static("true"),
        );
    }
    response
}

/// What a verdict that is no success says.
pub(super) fn refusal(word: &str) -> Problem {
    match word {
        "not_found" => Problem::new(ErrorCode::CallbackNotFound),
        "gone" => Problem::new(ErrorCode::CallbackGone),
        "conflict" => Problem::new(ErrorCode::CallbackConflict)
            .hint("The first call counts; this one changed nothing."),
        "not_resumable" => Problem::new(ErrorCode::CallbackConflict)
            .message("The callback ends its job; it can't be resumed.")
            .hint("Its worker has to register it as resumable."),
        _ => Problem::new(ErrorCode::Internal),
    }
}

/// The problem with the member `error`, as the peer has it.
pub(super) fn problem(problem: &Problem, context: &RequestContext) -> Response {
    let mut body = problem.to_problem_json(&context.id);
    if let Value::Object(members) = &mut body {
        members.insert("error".to_owned(), problem.message.as_ref().into());
    }
    let kind = HeaderValue::from_static("application/problem+json");
    let headers = [(header::CONTENT_TYPE, kind)];
    let mut response = (problem.status, headers, body.to_string()).into_response();
    problem.decorate(response.headers_mut());
    response
}

pub(super) async fn not_found(context: Extension<RequestContext>) -> Response {
    problem(&Problem::new(ErrorCode::NotFound), &context)
}

pub(super) async fn method_not_allowed(context: Extension<RequestContext>) -> Response {
    problem(&Problem::new(ErrorCode::MethodNotAllowed), &context)
}
