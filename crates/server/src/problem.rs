//! Errors as HTTP answers: the one place that knows both.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rolegate_model::ErrorCode;
use rolegate_pg::session::SessionError;
use rolegate_pg::sqlstate::Meaning;
use rolegate_pg::wire::DbError;
use rolegate_rpc::envelope::{RpcError, rpc_code, write_error};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::request::RequestContext;

/// An error on its way to a client. Everything in it is safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The stable code.
    pub code: ErrorCode,
    /// HTTP status.
    pub status: StatusCode,
    /// One sentence.
    pub message: Cow<'static, str>,
    /// What to do about it.
    pub hint: Option<Cow<'static, str>>,
    /// Detail the function's author wrote.
    pub detail: Option<String>,
    /// SQLSTATE, if the database said no.
    pub sqlstate: Option<String>,
    /// Further members for clients: which argument, which candidates.
    pub data: Option<Value>,
    /// Seconds after which a retry may succeed.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// The code with its usual status and title.
    pub fn new(code: ErrorCode) -> Self {
        Self {
            code,
            status: status(code),
            message: Cow::Borrowed(code.title()),
            hint: None,
            detail: None,
            sqlstate: None,
            data: None,
            retry_after: None,
        }
    }

    /// About one part of the request, such as `role` or `scopes.functions[0]`, without its value.
    pub fn at(path: &str, what: &str) -> Self {
        // A name of the request's own is shortened.
        let path: String = path.chars().take(100).collect();
        let problem = Self::new(ErrorCode::InvalidParams).message(format!("`{path}` {what}."));
        Self {
            data: Some(serde_json::json!({ "path": path })),
            ..problem
        }
    }

    /// With a message of its own.
    #[must_use]
    pub fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = message.into();
        self
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the time after which to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Appends a JSON-RPC response with this error.
    pub fn write_rpc(&self, out: &mut BytesMut, id: Option<&RawValue>, request_id: &str) {
        let data = serde_json::value::to_raw_value(&self.data(request_id)).ok();
        let error = RpcError {
            code: rpc_code(self.code),
            message: &self.message,
            data: data.as_deref(),
        };
        write_error(out, id, error);
    }

    /// Body of an `application/problem+json` answer (RFC 9457).
    pub fn to_problem_json(&self, request_id: &str) -> Value {
        let mut body = self.data(request_id);
        body.insert(
            "type".into(),
            format!("urn:rolegate:error:{}", self.code).into(),
        );
        body.insert("title".into(), self.message.as_ref().into());
        body.insert("status".into(), self.status.as_u16().into());
        Value::Object(body)
    }

    /// The error as an answer of its own.
    pub fn into_response_for(self, context: &RequestContext) -> Response {
        let body = self.to_problem_json(&context.id);
        self.respond(&body)
    }

    /// The same where the request's id is only in the answer's header.
    pub(crate) fn into_anonymous_response(self) -> Response {
        let mut body = self.to_problem_json("");
        if let Value::Object(members) = &mut body {
            members.remove("request_id");
        }
        self.respond(&body)
    }

    fn respond(&self, body: &Value) -> Response {
        const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
        let headers = [(header::CONTENT_TYPE, PROBLEM)];
        let mut response = (self.status, headers, body.to_string()).into_response();
        self.decorate(response.headers_mut());
        response
    }

    /// Headers that go with the error: `Retry-After`, and how to authenticate.
    pub fn decorate(&self, headers: &mut HeaderMap) {
        if let Some((name, value)) = self.retry_after_header() {
            headers.insert(name, value);
        }
        let bearer = !matches!(
            self.code,
            ErrorCode::LoginFailed | ErrorCode::SignatureInvalid
        );
        if self.status == StatusCode::UNAUTHORIZED && bearer {
            // RFC 6750: no error code if there was no credential at all.
            let challenge = if matches!(
                self.code,
                ErrorCode::CredentialMissing | ErrorCode::QueryPrivate
            ) {
                HeaderValue::from_static("Bearer")
            } else {
                HeaderValue::from_static("Bearer error=\"invalid_token\"")
            };
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
    }

    fn data(&self, request_id: &str) -> Map<String, Value> {
        let mut data = match &self.data {
            Some(Value::Object(data)) => data.clone(),
            _ => Map::new(),
        };
        data.insert("code".into(), self.code.as_str().into());
        if let Some(sqlstate) = &self.sqlstate {
            data.insert("sqlstate".into(), sqlstate.as_str().into());
        }
        if let Some(detail) = &self.detail {
            data.insert("detail".into(), detail.as_str().into());
        }
        if let Some(hint) = &self.hint {
            data.insert("hint".into(), hint.as_ref().into());
        }
        data.insert("request_id".into(), request_id.into());
        data
    }

    /// `Retry-After`, whole seconds, at least one.
    pub fn retry_after_header(&self) -> Option<(header::HeaderName, HeaderValue)> {
        let seconds = self.retry_after?.as_millis().div_ceil(1000).max(1);
        HeaderValue::from_str(&seconds.to_string())
            .ok()
            .map(|value| (header::RETRY_AFTER, value))
    }
}

/// The usual status of a code.
fn status(code: ErrorCode) -> StatusCode {
    use ErrorCode as E;
    match code {
        E::CredentialMissing
        | E::CredentialMalformed
        | E::TokenInvalid
        | E::TokenExpired
        | E::TokenNotYetValid
        | E::TokenIssuerUnknown
        | E::TokenAudienceWrong
        | E::TokenDatabaseWrong
        | E::TokenRoleMissing
        | E::TokenRevoked
        | E::LoginFailed
        | E::QueryPrivate
        | E::SignatureInvalid => StatusCode::UNAUTHORIZED,
        E::RoleReserved
        | E::RoleUnknown
        | E::RoleForbidden
        | E::RoleNotAllowed
        | E::RoleNotAdmitted
        | E::RoleReplaced
        | E::PermissionDenied
        | E::ScopeDenied
        | E::FunctionNeedsLoginMode
        | E::IdentityChanged
        | E::DryRunDisabled
        | E::ChannelDenied => StatusCode::FORBIDDEN,
        E::FunctionNotFound | E::DatabaseUnknown | E::NotFound | E::CallbackNotFound => {
            StatusCode::NOT_FOUND
        }
        E::CallbackGone | E::CursorGone => StatusCode::GONE,
        E::CallbackNotJudged | E::QueryRefused => StatusCode::UNPROCESSABLE_ENTITY,
        E::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        E::ParseError
        | E::InvalidRequest
        | E::InvalidParams
        | E::FunctionAmbiguous
        | E::DatabaseError => StatusCode::BAD_REQUEST,
        E::IdempotencyConflict
        | E::IdempotencyInProgress
        | E::BatchAborted
        | E::CallbackConflict
        | E::QueryChanged
        | E::JobConflict => StatusCode::CONFLICT,
        E::BodyTooLarge | E::BatchTooLarge | E::ResultTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        E::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        E::LoginThrottled | E::BudgetExceeded => StatusCode::TOO_MANY_REQUESTS,
        E::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        E::IssuerUnavailable | E::Overloaded | E::DatabaseUnavailable | E::ShuttingDown => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        let soon = Duration::from_secs(1);
        match error {
            SessionError::Database {
                error,
                reading_arguments,
                ..
            } => database(&error, reading_arguments),
            SessionError::Setup { error } => match Meaning::of(&error.code) {
                // Switching to the role was refused, or it does not exist any more.
                Meaning::Forbidden | Meaning::BadValue => Self::new(ErrorCode::RoleNotAdmitted),
                _ => Self {
                    sqlstate: Some(error.code),
                    ..Self::new(ErrorCode::Internal)
                },
            },
            SessionError::IdentityChanged => Self::new(ErrorCode::IdentityChanged),
            // Of a caller who went away nobody reads the answer.
            SessionError::Deadline | SessionError::Abandoned => {
                Self::new(ErrorCode::DeadlineExceeded)
            }
            SessionError::TooLarge => Self::new(ErrorCode::ResultTooLarge)
                .hint("Ask for fewer rows; a call that writes may have been committed."),
            SessionError::Overloaded => Self::new(ErrorCode::Overloaded).retry_after(soon),
            SessionError::Revoked => Self::new(ErrorCode::PermissionDenied)
                .message("The role's rights changed while the call ran.")
                .hint("Nothing was committed; repeat the call if the role still may."),
            SessionError::Unavailable(cause) => unavailable(&cause),
            SessionError::Ended { error } => ended(error.code),
            SessionError::Lost { nothing_ran, .. } => Self::new(ErrorCode::DatabaseUnavailable)
                .hint(if nothing_ran {
                    "Nothing was run; repeat the call."
                } else {
                    "The connection broke during the call, which may have been committed; \
                     use an Idempotency-Key to repeat it safely."
                })
                .retry_after(soon),
            SessionError::Closed => Self::new(ErrorCode::ShuttingDown).retry_after(soon),
        }
    }
}

/// The server ended the session before anything could have been committed.
fn ended(sqlstate: String) -> Problem {
    let problem = match Meaning::of(&sqlstate) {
        Meaning::TimedOut => Problem::new(ErrorCode::DeadlineExceeded)
            .hint("The database ended the session; nothing was committed."),
        _ => Problem::new(ErrorCode::DatabaseUnavailable)
            .hint(
                "The database ended the session during the call; \
                 nothing was committed: repeat the call.",
            )
            .retry_after(Duration::from_secs(1)),
    };
    Problem {
        sqlstate: Some(sqlstate),
        ..problem
    }
}

fn unavailable(cause: &rolegate_pg::wire::ConnectError) -> Problem {
    use rolegate_pg::wire::ConnectError;
    match cause {
        ConnectError::Refused(error) => match Meaning::of(&error.code) {
            Meaning::Forbidden => Problem::new(ErrorCode::RoleNotAdmitted)
                .hint("An operator admits a role with `rolegate roles admit ROLE`."),
            Meaning::Busy => {
                Problem::new(ErrorCode::Overloaded).retry_after(Duration::from_secs(1))
            }
            _ => Problem::new(ErrorCode::DatabaseUnavailable).retry_after(Duration::from_secs(1)),
        },
        ConnectError::PasswordMissing | ConnectError::UnsupportedAuthentication(_) => {
            Problem::new(ErrorCode::RoleNotAdmitted)
                .hint("An operator admits a role with `rolegate roles admit ROLE`.")
        }
        _ => Problem::new(ErrorCode::DatabaseUnavailable).retry_after(Duration::from_secs(1)),
    }
}

/// An error the database reported for a call.
fn database(error: &DbError, reading_arguments: bool) -> Problem {
    let meaning = Meaning::of(&error.code);
    let mut problem = match meaning {
        Meaning::Forbidden => Problem::new(ErrorCode::PermissionDenied),
        Meaning::TimedOut => Problem::new(ErrorCode::DeadlineExceeded),
        Meaning::Retry => Problem {
            status: StatusCode::CONFLICT,
            ..Problem::new(ErrorCode::DatabaseError)
                .message("The call lost a race with another one.")
                .hint("Nothing was committed; repeat the call.")
        },
        Meaning::Conflict => Problem {
            status: StatusCode::CONFLICT,
            ..Problem::new(ErrorCode::DatabaseError).message("The call conflicts with stored data.")
        },
        Meaning::BadValue if reading_arguments => Problem::new(ErrorCode::InvalidParams),
        Meaning::BadValue => {
            Problem::new(ErrorCode::DatabaseError).message("A value does not fit.")
        }
        Meaning::ReadOnly => Problem::new(ErrorCode::MethodNotAllowed)
            .message("The function tried to write in a read-only transaction.")
            .hint("A function that writes has to be VOLATILE, and is called with POST."),
        Meaning::Busy => Problem::new(ErrorCode::Overloaded).retry_after(Duration::from_secs(1)),
        Meaning::Unavailable => {
            Problem::new(ErrorCode::DatabaseUnavailable).retry_after(Duration::from_secs(1))
        }
        Meaning::Raised => Problem::new(ErrorCode::DatabaseError),
        Meaning::RaisedStatus(status) => Problem {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            ..Problem::new(ErrorCode::DatabaseError)
        },
        Meaning::Broken => Problem {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            ..Problem::new(ErrorCode::DatabaseError)
                .message("The function failed inside the database.")
        },
    };
    if meaning == Meaning::Broken && error.code == "2D000" {
        problem = problem
            .hint("Procedures that commit on their own can't run inside a call's transaction.");
    }
    problem.sqlstate = Some(error.code.clone());
    if meaning.text_is_for_callers() {
        problem.message = error.message.clone().into();
        problem.detail.clone_from(&error.detail);
        problem.hint = error.hint.clone().map(Into::into);
    } else if reading_arguments && meaning == Meaning::BadValue {
        // It was raised while the arguments were read: it speaks of the caller's own values.
        problem.message = error.message.clone().into();
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str) -> DbError {
        DbError {
            code: code.into(),
            severity: "ERROR".into(),
            message: "secret text".into(),
            detail: Some("secret detail".into()),
            hint: Some("secret hint".into()),
            ..DbError::default()
        }
    }

    #[test]
    fn texts_of_the_database_stay_inside() {
        for code in [
            "23505", "22P02", "42P01", "XX000", "42501", "57014", "40001", "53300",
        ] {
            let text = database(&error(code), false)
                .to_problem_json("r")
                .to_string();
            assert!(!text.contains("secret"), "{code}: {text}");
            assert!(text.contains(code), "{text}");
        }
    }

    #[test]
    fn an_ended_session_says_that_nothing_was_committed() {
        for (code, expected) in [
            ("57P01", ErrorCode::DatabaseUnavailable),
            ("25P04", ErrorCode::DeadlineExceeded),
        ] {
            let error = Box::new(error(code));
            let problem = Problem::from(SessionError::Ended { error });
            assert_eq!(problem.code, expected, "{code}");
            let text = problem.to_problem_json("r").to_string();
            assert!(text.contains("nothing was committed"), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn texts_of_authors_reach_the_client() {
        for code in ["P0001", "AB123", "PT409"] {
            let text = database(&error(code), false)
                .to_problem_json("r")
                .to_string();
            for word in ["secret text", "secret detail", "secret hint"] {
                assert!(text.contains(word), "{code}: {text}");
            }
        }
        assert_eq!(
            database(&error("PT409"), false).status,
            StatusCode::CONFLICT
        );
    }

    #[test]
    fn an_error_inside_a_function_is_never_not_found() {
        for code in ["42P01", "42883", "3F000", "42703"] {
            assert_eq!(
                database(&error(code), false).status,
                StatusCode::INTERNAL_SERVER_ERROR,
                "{code}"
            );
        }
    }

    #[test]
    fn a_value_that_does_not_parse_is_named_to_who_sent_it() {
        let problem = database(&error("22P02"), true);
        assert_eq!(problem.code, ErrorCode::InvalidParams);
        assert_eq!(problem.message, "secret text");
        assert_eq!(problem.detail, None);
    }
}
