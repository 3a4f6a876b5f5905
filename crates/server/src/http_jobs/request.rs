//! What a function is sent.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use rolegate_auth::callback::{
    Action, FunctionRequest, Key, SIGNATURE_HEADER, TIMESTAMP_HEADER, callback_url, legacy,
    sign_request,
};
use rolegate_jobs::{Job, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{HttpKind, Mode};

/// The reason of a job whose arguments are too large to be sent.
pub const REQUEST_TOO_LARGE: &str = "request_too_large";

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Members and their order are the peer's, whose functions read them; `resume` is ours.
#[derive(Serialize)]
struct Body<'a> {
    job_id: i64,
    kind: &'a str,
    args: &'a RawValue,
    attempt: u16,
    max_attempts: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resume: Option<&'a RawValue>,
}

/// The callback with which a job goes on.
#[derive(Deserialize)]
struct Resumed {
    callback: Uuid,
}

/// Headers and body of a request; or how the attempt ends without one.
pub(super) fn build(
    kind: &HttpKind,
    database: &str,
    job: &Job,
    callback: Option<Uuid>,
    now: Timestamp,
) -> Result<(HeaderMap, Bytes), Outcome> {
    let callback = callback.map(|id| id.to_string());
    let url = match (&kind.mode, &callback) {
        (Mode::Async(to), Some(id)) => {
            Some(callback_url(&to.base_url, &to.prefix, id, Action::Complete))
        }
        _ => None,
    };
    let body = Body {
        job_id: job.id,
        kind: &job.kind,
        args: &job.args,
        attempt: job.attempt,
        max_attempts: job.max_attempts,
        callback_id: callback.as_deref(),
        callback_url: url,
        resume: job.options.resume.as_deref(),
    };
    let body = serde_json::to_vec(&body).map_err(|error| Outcome::failed(error.to_string()))?;
    if body.len() > kind.max_request {
        return Err(too_large(kind.max_request));
    }
    let name = idempotency_key(database, job);
    // The operator's were checked not to be among ours.
    let mut headers = kind.headers.clone();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(ACCEPT, JSON);
    headers.insert(IDEMPOTENCY_KEY, value(&name)?);
    if let Some(trace) = job.options.traceparent() {
        headers.insert(TRACEPARENT, value(trace)?);
    }
    if let Some(key) = &kind.key {
        sign(&mut headers, key, &name, &body, now)?;
        if let (Mode::Async(to), Some(id)) = (&kind.mode, &callback)
            && to.legacy_signature
        {
            let name = HeaderName::try_from(legacy::SIGNATURE_HEADER);
            if let Ok(name) = name {
                headers.insert(name, value(&legacy::sign(key, id))?);
            }
        }
    }
    Ok((headers, body.into()))
}

pub(super) fn too_large(most: usize) -> Outcome {
    Outcome::Failed {
        error: format!("the request would be larger than {most} bytes").into(),
        reason: Some(REQUEST_TOO_LARGE),
    }
}

/// The same for every attempt, so that a function that did the work does not do it again; another
/// one for the next step of a job that was resumed.
fn idempotency_key(database: &str, job: &Job) -> String {
    let mut key: String = database
        .chars()
        .filter(char::is_ascii_graphic)
        .take(128)
        .collect();
    key.push('-');
    key.push_str(&job.id.to_string());
    let resumed = job.options.resume.as_deref();
    let resumed = resumed.and_then(|raw| serde_json::from_str::<Resumed>(raw.get()).ok());
    if let Some(Resumed { callback }) = resumed {
        key.push('-');
        key.push_str(&callback.to_string());
    }
    key
}

fn sign(
    headers: &mut HeaderMap,
    key: &Key,
    idempotency_key: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Outcome> {
    let timestamp = now.as_second().unsigned_abs();
    let request = FunctionRequest {
        method: "POST",
        idempotency_key,
        timestamp,
        body,
    };
    let signature =
        sign_request(key, &request).map_err(|error| Outcome::failed(error.to_string()))?;
    for (name, text) in [
        (SIGNATURE_HEADER, signature),
        (TIMESTAMP_HEADER, timestamp.to_string()),
    ] {
        if let Ok(name) = HeaderName::try_from(name) {
            headers.insert(name, value(&text)?);
        }
    }
    Ok(())
}

fn value(text: &str) -> Result<HeaderValue, Outcome> {
    HeaderValue::from_str(text).map_err(|error| Outcome::failed(error.to_string()))
}
