//! A body as requests.

use std::borrow::Cow;

use serde::de::Error as _;
use serde_json::value::RawValue;

use super::error::{EnvelopeError, Rejected};
use super::members::{JsonType, Members, string};

/// Longest key a request may carry in `idempotencyKey`; the header has the same.
const MOST_KEY_BYTES: usize = 255;

/// What a body may not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Elements of a batch.
    pub max_batch: usize,
    /// Levels of arrays and objects, the outermost included.
    pub max_depth: usize,
}

/// A body of the JSON-RPC endpoint.
#[derive(Debug)]
pub enum Body<'a> {
    /// One request.
    Single(Entry<'a>),
    /// At least one element, each answered by itself.
    Batch(Vec<Entry<'a>>),
}

/// A request, or why it is none.
pub type Entry<'a> = Result<Request<'a>, Rejected<'a>>;

/// One request. All texts are those of the body.
#[derive(Debug)]
pub struct Request<'a> {
    /// Method name.
    pub method: Cow<'a, str>,
    /// An object or an array; `None` also for `null`.
    pub params: Option<&'a RawValue>,
    /// A string, a number or `null`; `None` makes it a notification, which gets no answer.
    pub id: Option<&'a RawValue>,
    /// The member `idempotencyKey` of clients that can't set the header.
    pub idempotency_key: Option<Cow<'a, str>>,
}

impl Request<'_> {
    /// Whether it asks for no answer.
    pub fn is_notification(&self) -> bool {
        self.id.is_none()
    }
}

/// Parses the body of the JSON-RPC endpoint. An error is about the body as a whole and is answered
/// with one error object whose id is null.
pub fn parse(body: &[u8], bounds: Bounds) -> Result<Body<'_>, EnvelopeError> {
    let raw = check(body, bounds.max_depth)?;
    if JsonType::of(raw) != JsonType::Array {
        return Ok(Body::Single(request(raw)));
    }
    let elements: Vec<&RawValue> =
        serde_json::from_str(raw.get()).map_err(EnvelopeError::NotJson)?;
    if elements.is_empty() {
        return Err(EnvelopeError::NotRequest("an empty batch"));
    }
    if elements.len() > bounds.max_batch {
        return Err(EnvelopeError::BatchTooLarge(bounds.max_batch));
    }
    Ok(Body::Batch(elements.into_iter().map(request).collect()))
}

/// Syntax and nesting of a whole text.
pub(super) fn check(body: &[u8], max_depth: usize) -> Result<&RawValue, EnvelopeError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| EnvelopeError::NotJson(serde_json::Error::custom(error)))?;
    let raw: &RawValue = serde_json::from_str(text).map_err(EnvelopeError::NotJson)?;
    // The parser skips raw values without recursion, so the bound protects what comes after it:
    // PostgreSQL's parser has a limit of its own, but reports it as an error of the statement.
    if deeper_than(raw.get(), max_depth) {
        return Err(EnvelopeError::TooDeep(max_depth));
    }
    Ok(raw)
}

/// Whether valid JSON is nested deeper than `max` levels.
fn deeper_than(json: &str, max: usize) -> bool {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for byte in json.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

fn request(raw: &RawValue) -> Entry<'_> {
    if JsonType::of(raw) != JsonType::Object {
        return Err(EnvelopeError::NotRequest("it is not an object").into());
    }
    let members = Members::of(raw).map_err(EnvelopeError::NotJson)?;
    let envelope = Envelope::of(&members)?;
    let rejected = |error| Rejected {
        id: envelope.id,
        error,
    };
    let Some(method) = envelope.method else {
        return Err(rejected(EnvelopeError::NotRequest("`method` is missing")));
    };
    if method.starts_with("rpc.") {
        return Err(rejected(EnvelopeError::ReservedMethod));
    }
    Ok(Request {
        method,
        params: envelope.params,
        id: envelope.id,
        idempotency_key: envelope.idempotency_key,
    })
}

/// The members of a request, checked one by one.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) method: Option<Cow<'a, str>>,
    pub(super) params: Option<&'a RawValue>,
    pub(super) id: Option<&'a RawValue>,
    pub(super) idempotency_key: Option<Cow<'a, str>>,
}

impl<'a> Envelope<'a> {
    /// Members that the specification does not know are left alone.
    pub(super) fn of(members: &Members<'a>) -> Result<Self, Rejected<'a>> {
        let reject = |id, reason| Rejected {
            id,
            error: EnvelopeError::NotRequest(reason),
        };
        // Of two ids neither can be trusted to be the one the client waits for.
        if members.repeated().is_some() {
            return Err(reject(None, "a member occurs twice"));
        }
        let id = members.get("id");
        if id.is_some_and(|id| {
            !matches!(
                JsonType::of(id),
                JsonType::String | JsonType::Number | JsonType::Null
            )
        }) {
            return Err(reject(
                None,
                "`id` is neither a string nor a number nor null",
            ));
        }
        if !members.get("jsonrpc").is_some_and(is_version_2) {
            return Err(reject(id, "`jsonrpc` is not \"2.0\""));
        }
        let method = match members.get("method") {
            None => None,
            Some(method) => {
                Some(string(method).ok_or_else(|| reject(id, "`method` is not a string"))?)
            }
        };
        let params = match members
            .get("params")
            .map(|params| (params, JsonType::of(params)))
        {
            None | Some((_, JsonType::Null)) => None,
            Some((params, JsonType::Object | JsonType::Array)) => Some(params),
            Some(_) => return Err(reject(id, "`params` is neither an object nor an array")),
        };
        let idempotency_key = match members.get("idempotencyKey") {
            None => None,
            Some(key) => Some(
                string(key)
                    .filter(|key| !key.is_empty() && key.len() <= MOST_KEY_BYTES)
                    .ok_or_else(|| {
                        reject(id, "`idempotencyKey` is not a string of 1 to 255 bytes")
                    })?,
            ),
        };
        Ok(Self {
            method,
            params,
            id,
            idempotency_key,
        })
    }
}

/// Whether a value is the string `2.0`.
pub(super) fn is_version_2(value: &RawValue) -> bool {
    string(value).is_some_and(|version| version == "2.0")
}
