//! One call: its signature, then its id, then its JSON, then the database.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use rolegate_auth::callback::{
    Action, Presented, Refused, SIGNATURE_HEADER, TIMESTAMP_HEADER, legacy,
};
use rolegate_model::ErrorCode;
use rolegate_rules::NotJudged;
use uuid::Uuid;

use crate::metrics::CALLBACKS;
use crate::problem::Problem;
use crate::request::RequestContext;
use crate::routes::body;

use super::call::Call;
use super::judge::{JudgeError, Judged};
use super::store::{StoreError, Verdict};
use super::{Callers, Receiver, answer};

/// Answers a call, and counts it.
pub(super) async fn handle(
    State(receiver): State<Receiver>,
    Extension(context): Extension<RequestContext>,
    action: Action,
    request: Request,
) -> Response {
    let (outcome, response) = match receiver.receive(&context, action, request).await {
        Ok(verdict) => {
            let job = verdict.job;
            let state = verdict.state.as_deref().unwrap_or_default();
            if verdict.word == "ok" && action != Action::Heartbeat {
                let trace = verdict.trace.as_deref();
                tracing::info!(
                    request_id = %context.id, job, %action, state, trace, "callback_answered"
                );
            }
            let outcome = match &*verdict.word {
                "replay" => "replay",
                "ignored" => "ignored",
                _ => "ok",
            };
            (outcome, answer::done(&verdict))
        }
        Err(problem) => (problem.code.as_str(), answer::problem(&problem, &context)),
    };
    metrics::counter!(CALLBACKS, "action" => action.as_str(), "outcome" => outcome).increment(1);
    response
}

impl Receiver {
    async fn receive(
        &self,
        context: &RequestContext,
        action: Action,
        request: Request,
    ) -> Result<Verdict, Problem> {
        let inner = &*self.0;
        let (head, body) = request.into_parts();
        // The id as it was written: that is what was signed.
        let id = head
            .uri
            .path()
            .strip_prefix(&*inner.prefix)
            .and_then(|path| path.strip_prefix('/'))
            .and_then(|path| path.strip_suffix(action.as_str()))
            .and_then(|path| path.strip_suffix('/'))
            .filter(|id| !id.is_empty())
            .ok_or_else(|| Problem::new(ErrorCode::NotFound))?;
        let body = body::collect(body, inner.max_body_bytes, inner.body_timeout).await?;
        let now = u64::try_from(inner.clock.now().as_second()).unwrap_or_default();

        let signed_at = self
            .check(&head.headers, head.method.as_str(), action, id, &body, now)
            .map_err(|refused| {
                tracing::info!(
                    request_id = %context.id, peer = context.peer.map(tracing::field::display),
                    %action, reason = refused.as_str(), "callback_refused"
                );
                Problem::new(ErrorCode::SignatureInvalid)
            })?;

        if let Some(wait) = inner.unknown.wait(context.peer, now) {
            return Err(Problem {
                status: StatusCode::TOO_MANY_REQUESTS,
                ..Problem::new(ErrorCode::Overloaded)
                    .message("Too many unknown callbacks from this address.")
                    .retry_after(wait)
            });
        }
        let id = uuid(id).ok_or_else(|| {
            inner.unknown.note(context.peer, now);
            Problem::new(ErrorCode::InvalidRequest)
                .message("The callback's id is not a UUID.")
                .hint("Lower case, with hyphens, as the job gave it.")
        })?;
        body::check_kind(&head.headers, &body)?;
        let call = Call::parse(action, &body)
            .map_err(|what| Problem::new(ErrorCode::InvalidRequest).message(what))?;

        let digest = digest(action, &body, signed_at);
        let verdict = self.call(context, id, call, digest.as_deref()).await?;
        match &*verdict.word {
            "ok" | "replay" | "ignored" => Ok(verdict),
            word => {
                if word == "not_found" {
                    inner.unknown.note(context.peer, now);
                }
                Err(answer::refusal(word))
            }
        }
    }

    /// Asks the database; and once more, if the callback has rules, with what they make of the call. In
    /// between anything may happen: the second answer counts.
    async fn call(
        &self,
        context: &RequestContext,
        id: Uuid,
        mut call: Call,
        digest: Option<&[u8]>,
    ) -> Result<Verdict, Problem> {
        let store = &self.0.store;
        let verdict = store.call(id, &call, digest, None).await;
        let mut verdict = verdict.map_err(|error| not_stored(context, &error))?;
        if verdict.word == "judge"
            && let Some(rules) = verdict.rules.take()
            && let Call::Complete { payload } | Call::Resume { payload } = &mut call
        {
            let judged = self.0.judge.judge(rules, payload.take()).await;
            match judged.map_err(|error| not_judged(context, verdict.job, &error))? {
                Judged::Ignored => "ignored".clone_into(&mut verdict.word),
                Judged::Made {
                    payload: made,
                    judged,
                } => {
                    *payload = made;
                    let again = store.call(id, &call, digest, Some(&judged)).await;
                    verdict = again.map_err(|error| not_stored(context, &error))?;
                }
            }
        }
        Ok(verdict)
    }

    /// The time of signing; `None` if that was not signed.
    fn check(
        &self,
        headers: &HeaderMap,
        method: &str,
        action: Action,
        id: &str,
        body: &[u8],
        now: u64,
    ) -> Result<Option<u64>, Refused> {
        let Callers::Signed(verifier) = &self.0.callers else {
            return Ok(None);
        };
        let all = |name: &str| -> Vec<&[u8]> {
            let values = headers.get_all(name).iter();
            values.map(http::HeaderValue::as_bytes).collect()
        };
        let (signatures, timestamps) = (all(SIGNATURE_HEADER), all(TIMESTAMP_HEADER));
        let legacy = all(legacy::SIGNATURE_HEADER);
        let presented = Presented {
            signatures: &signatures,
            timestamps: &timestamps,
            legacy: &legacy,
        };
        let accepted = verifier.verify(presented, method, action, id, body, now)?;
        tracing::debug!(key = accepted.key_id, %action, "callback_verified");
        Ok(accepted.timestamp)
    }
}

fn not_stored(context: &RequestContext, error: &StoreError) -> Problem {
    if error.is_about_the_call() {
        return Problem::new(ErrorCode::InvalidRequest)
            .message("The database does not take this JSON.");
    }
    let read_only = error.is_read_only();
    tracing::warn!(
        request_id = %context.id, %error, cause = ?error, read_only, "callback_not_stored"
    );
    if read_only {
        return Problem::new(ErrorCode::DatabaseUnavailable)
            .message("The database takes no writes now; nothing was decided.")
            .hint("Repeat the call until it is answered: it counts once.")
            .retry_after(Duration::from_secs(10));
    }
    Problem::new(ErrorCode::DatabaseUnavailable)
        .hint("Repeat the call: it counts once.")
        .retry_after(Duration::from_secs(1))
}

/// Nothing was decided, and the job goes on waiting. The caller is told which rule it was, and nothing
/// of its text.
fn not_judged(context: &RequestContext, job: Option<i64>, error: &JudgeError) -> Problem {
    if let JudgeError::Busy = error {
        return Problem::new(ErrorCode::Overloaded)
            .message("Too many answers are being looked at.")
            .retry_after(Duration::from_secs(1));
    }
    tracing::warn!(request_id = %context.id, job, %error, "callback_not_judged");
    let problem = Problem::new(ErrorCode::CallbackNotJudged);
    match error {
        JudgeError::NotJudged(NotJudged { rule, reason, .. }) => problem
            .message(format!(
                "The rule `{rule}` has no value for this answer: {reason}."
            ))
            .hint("The job goes on waiting; another answer may count."),
        _ => problem.hint("The rules that the job's worker registered can't be read."),
    }
}

/// The one way to write a UUID that ids are given out in.
fn uuid(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    let mut buffer = Uuid::encode_buffer();
    (id.hyphenated().encode_lower(&mut buffer) == text).then_some(id)
}

/// By what the same call is known again. A heartbeat that is repeated means it, unless it was played
/// back: then it was signed at the same time.
fn digest(action: Action, body: &Bytes, signed_at: Option<u64>) -> Option<Vec<u8>> {
    let mut context = Context::new(&SHA256);
    if action == Action::Heartbeat {
        context.update(&signed_at?.to_be_bytes());
    }
    context.update(body);
    Some(context.finish().as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_in_one_way() {
        let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
        assert!(uuid(id).is_some());
        for text in [
            &id.to_uppercase(),
            &id.replace('-', ""),
            &format!("{{{id}}}"),
            &format!("urn:uuid:{id}"),
            "",
            "%30f8fad5b-d9cb-469f-a165-70867728950e",
        ] {
            assert_eq!(uuid(text), None, "{text}");
        }
    }

    #[test]
    fn heartbeats_are_the_same_only_if_signed_at_the_same_time() {
        let body = Bytes::from_static(b"{}");
        let of = |action, at| digest(action, &body, at);
        assert_eq!(of(Action::Complete, Some(1)), of(Action::Complete, Some(2)));
        assert_eq!(of(Action::Heartbeat, None), None);
        assert_eq!(
            of(Action::Heartbeat, Some(1)),
            of(Action::Heartbeat, Some(1))
        );
        assert_ne!(
            of(Action::Heartbeat, Some(1)),
            of(Action::Heartbeat, Some(2))
        );
    }
}
