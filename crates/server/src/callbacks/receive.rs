//! One call: its signature, then its id, then its JSON, then the database.

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
use uuid::Uuid;

use crate::metrics::CALLBACKS;
use crate::problem::Problem;
use crate::request::RequestContext;
use crate::routes::body;

use super::call::Call;
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
                tracing::info!(
                    request_id = %context.id, job, %action, state, "callback_answered"
                );
            }
            let outcome = if verdict.word == "replay" {
                "replay"
            } else {
                "ok"
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
    ) -> Result<super::store::Verdict, Problem> {
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
        let verdict = inner.store.call(id, &call, digest.as_deref()).await;
        let verdict = verdict.map_err(|error| {
            if error.is_about_the_call() {
                return Problem::new(ErrorCode::InvalidRequest)
                    .message("The database does not take this JSON.");
            }
            tracing::warn!(request_id = %context.id, %error, cause = ?error, "callback_not_stored");
            Problem::new(ErrorCode::DatabaseUnavailable)
                .hint("Repeat the call: it counts once.")
                .retry_after(std::time::Duration::from_secs(1))
        })?;
        match &*verdict.word {
            "ok" | "replay" => Ok(verdict),
            word => {
                if word == "not_found" {
                    inner.unknown.note(context.peer, now);
                }
                Err(answer::refusal(word))
            }
        }
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
