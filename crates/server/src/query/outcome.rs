//! What became of a query, as the caller may hear it.

use http::StatusCode;
use rolegate_model::ErrorCode;
use rolegate_pg::session::SessionError;
use rolegate_query::Refusal;

use super::analyses::Stopped;
use crate::call::RunError;
use crate::problem::Problem;

/// A text that is not run.
pub(super) fn refused(refusal: &Refusal) -> Problem {
    Problem::new(ErrorCode::QueryRefused)
        .message(refusal.to_string())
        .hint(refusal.hint())
}

/// A date that a form has no number for.
pub(super) fn beyond(column: &str) -> Problem {
    Problem::new(ErrorCode::QueryRefused)
        .message(format!(
            "The column \"{column}\" has a date or a time that Arrow has no number for: it is infinite, or too far away."
        ))
        .hint("Select it as text (column::text), or ask for JSON or CSV.")
}

/// For callers without a token. One answer, whatever stands behind it: which relations and columns there
/// are is nobody's business who may not read them.
pub(super) fn not_public() -> Problem {
    Problem::new(ErrorCode::QueryPrivate)
        .message(
            "The query is not public: it names something that anonymous callers may not read, or that \
             does not exist.",
        )
        .hint("Send a bearer token of a role that may, or grant SELECT to PUBLIC on what it reads.")
}

/// A text that does not run as the role of the caller's token. The messages are about the text and about
/// names in it: nothing has been run yet.
pub(crate) fn to_caller(stopped: &Stopped) -> Problem {
    match stopped {
        Stopped::Refused(refusal) => refused(refusal),
        Stopped::Database {
            sqlstate,
            message,
            position,
        } => {
            let problem = match sqlstate.as_str() {
                // No privilege; no such object; not authorized.
                "42501" | "42704" | "28000" => Problem::new(ErrorCode::PermissionDenied),
                _ => Problem::new(ErrorCode::QueryRefused),
            };
            let problem = Problem {
                sqlstate: Some(sqlstate.clone()),
                ..problem.message(message.clone())
            };
            match position {
                Some(position) => problem.hint(format!("At character {position} of the text.")),
                None => problem,
            }
        }
    }
}

/// What became of running it. The rows' values stay inside.
pub(super) fn of_run(error: RunError) -> Problem {
    match error {
        RunError::Refused(problem) => *problem,
        RunError::Session(error) => match *error {
            SessionError::TooLarge => Problem::new(ErrorCode::ResultTooLarge)
                .hint("Ask for fewer rows, with LIMIT or WHERE."),
            SessionError::Lost { .. } => Problem::new(ErrorCode::DatabaseUnavailable)
                .hint("Nothing was changed; repeat the query.")
                .retry_after(std::time::Duration::from_secs(1)),
            error => {
                let problem = Problem::from(error);
                if problem.code == ErrorCode::MethodNotAllowed {
                    return Problem::new(ErrorCode::QueryRefused)
                        .message("The query tried to write.")
                        .hint("To change data, call a function.");
                }
                if problem.code == ErrorCode::DatabaseError
                    && problem.status == StatusCode::INTERNAL_SERVER_ERROR
                {
                    return Problem {
                        status: StatusCode::UNPROCESSABLE_ENTITY,
                        ..problem.message("The query failed inside the database.")
                    };
                }
                problem
            }
        },
    }
}

/// Whether an error may come from a table that is not any more what it was when it was looked at: a name
/// is gone, a privilege, or a prepared statement's columns.
pub(crate) fn could_be_stale(problem: &Problem) -> bool {
    problem
        .sqlstate
        .as_deref()
        .is_some_and(|code| code.starts_with("42") || code == "0A000")
}
