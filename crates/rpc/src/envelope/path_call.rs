//! The body of a call whose method is in the path.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::error::{EnvelopeError, Rejected};
use super::members::{JsonType, Members};
use super::parse::{Envelope, check, is_version_2};

/// A call whose method is in the path.
#[derive(Debug)]
pub struct PathCall<'a> {
    /// An object or an array; `None` for an empty body.
    pub params: Option<&'a RawValue>,
    /// The body was an envelope, so the answer is one too; otherwise it is the bare result.
    pub envelope: bool,
    /// Id of the envelope; without one, an envelope is a notification.
    pub id: Option<&'a RawValue>,
    /// The member `idempotencyKey` of the envelope.
    pub idempotency_key: Option<Cow<'a, str>>,
}

/// Parses the body of a call of `method`.
///
/// An object with `"jsonrpc": "2.0"` is an envelope, and its `method`, if it has one, must be the
/// path's: a difference is a mistake that would call something else than it says. Any other object
/// and any array are the params, white space alone stands for none.
pub fn parse_path_call<'a>(
    body: &'a [u8],
    method: &str,
    max_depth: usize,
) -> Result<PathCall<'a>, Rejected<'a>> {
    if method.starts_with("rpc.") {
        return Err(EnvelopeError::ReservedMethod.into());
    }
    let bare = |params| PathCall {
        params,
        envelope: false,
        id: None,
        idempotency_key: None,
    };
    if body.trim_ascii().is_empty() {
        return Ok(bare(None));
    }
    let raw = check(body, max_depth)?;
    match JsonType::of(raw) {
        JsonType::Array => return Ok(bare(Some(raw))),
        JsonType::Object => {}
        _ => return Err(EnvelopeError::NotRequest("params are an object or an array").into()),
    }
    let members = Members::of(raw).map_err(EnvelopeError::NotJson)?;
    // Any occurrence counts, so that a repeated `jsonrpc` is refused and not read as params.
    if !members
        .0
        .iter()
        .any(|(name, value)| name == "jsonrpc" && is_version_2(value))
    {
        return Ok(bare(Some(raw)));
    }
    let envelope = Envelope::of(&members)?;
    if envelope.method.is_some_and(|named| named != method) {
        let error = EnvelopeError::NotRequest("`method` is not the one in the path");
        return Err(Rejected {
            id: envelope.id,
            error,
        });
    }
    Ok(PathCall {
        params: envelope.params,
        envelope: true,
        id: envelope.id,
        idempotency_key: envelope.idempotency_key,
    })
}
