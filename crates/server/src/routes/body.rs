//! Reading a request's body within its bounds.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use rolegate_model::ErrorCode;

use crate::config::GatewayConfig;
use crate::problem::Problem;

/// Reads the body, of `limit` bytes at most, in the time a client has for it. A body that is not
/// declared as JSON is refused: a browser sends other types across origins without asking first.
pub(crate) async fn read(
    config: &GatewayConfig,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Bytes, Problem> {
    let bytes = collect(body, limit, config.body_timeout).await?;
    check_kind(headers, &bytes)?;
    Ok(bytes)
}

/// Reads the body, whatever is in it.
pub(crate) async fn collect(body: Body, limit: usize, timeout: Duration) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(ErrorCode::BodyTooLarge).hint(format!("At most {limit} bytes."));
    // A length that is declared need not be waited for.
    if usize::try_from(body.size_hint().lower()).map_or(true, |length| length > limit) {
        return Err(too_large());
    }
    let all = Limited::new(body, limit).collect();
    let bytes = tokio::time::timeout(timeout, all)
        .await
        .map_err(|_| Problem {
            status: StatusCode::REQUEST_TIMEOUT,
            ..Problem::new(ErrorCode::InvalidRequest).message("The body took too long to arrive.")
        })?
        .map_err(|error| {
            if error.downcast_ref::<LengthLimitError>().is_some() {
                too_large()
            } else {
                Problem::new(ErrorCode::InvalidRequest).message("The body could not be read.")
            }
        })?;
    Ok(bytes.to_bytes())
}

/// Whether it says of itself that it is JSON.
pub(crate) fn check_kind(headers: &HeaderMap, bytes: &Bytes) -> Result<(), Problem> {
    if is_packed(headers) {
        return Err(Problem::new(ErrorCode::UnsupportedMediaType)
            .hint("Send the body without a Content-Encoding."));
    }
    if !bytes.is_empty() && !is_json(headers) {
        return Err(Problem::new(ErrorCode::UnsupportedMediaType));
    }
    Ok(())
}

/// Nothing is unpacked: a small body could become a large one.
fn is_packed(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || essence == "application/json-rpc"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}
