//! What a function's answer means for the job.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use rolegate_jobs::Outcome;
use rolegate_outbound::{Answer, BodyEnd, SendError, retry_after};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Mode;

/// The longest `Retry-After` that is obeyed.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(24);
/// The reason of a job whose function refused it.
pub const REFUSED: &str = "function_refused";
/// The reason of a job whose function sent the worker elsewhere.
pub const REDIRECTED: &str = "function_redirected";
/// The reason of a job whose output is too large to be kept.
pub const ANSWER_TOO_LARGE: &str = "answer_too_large";

/// Bytes of an answer's body that an error shows.
const SHOWN: usize = 1024;

/// What becomes of the attempt.
pub(super) fn outcome(mode: &Mode, answered: Result<Answer, SendError>, now: Timestamp) -> Outcome {
    let answer = match answered {
        Ok(answer) => answer,
        Err(error) => return Outcome::retry(error.to_string()),
    };
    let status = answer.status;
    if status.is_success() {
        return match mode {
            // It has taken the job over, whatever else it says.
            Mode::Async(_) => Outcome::Wait,
            Mode::Sync => done(&answer),
        };
    }
    if is_for_now(status) {
        return Outcome::Retry {
            error: error(&answer),
            after: retry_after(&answer.headers, now, LONGEST_RETRY_AFTER),
        };
    }
    let reason = if status.is_redirection() {
        REDIRECTED
    } else {
        REFUSED
    };
    Outcome::Failed {
        error: error(&answer),
        reason: Some(reason),
    }
}

/// Whether it may be another answer later.
fn is_for_now(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

/// The body is the job's output: JSON as it is, other text as a JSON string.
fn done(answer: &Answer) -> Outcome {
    match answer.end {
        BodyEnd::Whole => {}
        // It would be as large the next time.
        BodyEnd::TooLong => {
            let most = answer.body.len();
            return Outcome::Failed {
                error: format!("the function's answer is larger than {most} bytes").into(),
                reason: Some(ANSWER_TOO_LARGE),
            };
        }
        BodyEnd::Late => return Outcome::retry("the function's answer did not end in time"),
        BodyEnd::Broken => return Outcome::retry("the function's answer broke off"),
    }
    let Ok(text) = std::str::from_utf8(&answer.body) else {
        return Outcome::Completed(None);
    };
    let text = text.trim();
    if text.is_empty() {
        return Outcome::Completed(None);
    }
    match RawValue::from_string(text.to_owned()) {
        Ok(output) => Outcome::Completed(Some(output)),
        Err(_) => Outcome::output(&text),
    }
}

/// For people: the status, and how the body begins.
fn error(answer: &Answer) -> Value {
    let status = answer.status.as_u16();
    let begin = &answer.body[..answer.body.len().min(SHOWN)];
    let body: String = String::from_utf8_lossy(begin)
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    let message = format!("the function answered {status}");
    match body.trim() {
        "" => json!({"message": message, "status": status}),
        body => json!({"message": message, "status": status, "body": body}),
    }
}

/// The word in metrics and logs.
pub(super) fn word(answered: &Result<Answer, SendError>) -> &'static str {
    match answered {
        Err(SendError::Address(_)) => "address_refused",
        Err(SendError::Late(_)) => "timeout",
        Err(SendError::Connect(_)) => "no_connection",
        Err(SendError::Broken(_)) => "broken",
        Ok(answer) => match (answer.status.as_u16(), answer.end) {
            (200..=299, BodyEnd::Whole) => "ok",
            (200..=299, BodyEnd::TooLong) => "too_large",
            (200..=299, BodyEnd::Late) => "timeout",
            (200..=299, BodyEnd::Broken) => "broken",
            (408 | 425 | 429, _) => "throttled",
            (300..=399, _) => "redirect",
            (500..=599, _) => "server_error",
            _ => "refused",
        },
    }
}
