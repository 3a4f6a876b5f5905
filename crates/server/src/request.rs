//! What a request says besides its body.

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rolegate_model::{Clock as _, SystemClock};

use crate::serve::PeerAddress;

/// The header that carries the request id in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id taken over from a client.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// One request's id and what functions may see of it.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Ours, or the client's if it sent a plain one.
    pub id: Arc<str>,
    /// HTTP method.
    pub method: Method,
    /// Path without query.
    pub path: Arc<str>,
    /// The allow-listed headers as a JSON object.
    pub headers: Bytes,
    /// Peer address; `None` only in tests without a socket.
    pub peer: Option<IpAddr>,
}

/// Headers that functions may see. Credentials are never among them, whatever is configured.
#[derive(Debug, Clone)]
pub struct VisibleHeaders(Arc<[HeaderName]>);

impl VisibleHeaders {
    /// Keeps the names that are valid and carry no credential.
    pub fn new(names: &[String]) -> Self {
        let secret = [
            "authorization",
            "cookie",
            "proxy-authorization",
            "x-api-key",
        ];
        let mut kept: Vec<HeaderName> = names
            .iter()
            .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
            .filter(|name| !secret.contains(&name.as_str()))
            .collect();
        // Each once: a member that is there twice means different things to different readers.
        kept.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        kept.dedup();
        Self(kept.into())
    }

    fn json(&self, headers: &HeaderMap) -> Bytes {
        let mut text = vec![b'{'];
        for name in self.0.iter() {
            let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) else {
                continue;
            };
            if text.len() > 1 {
                text.push(b',');
            }
            // No character of a header's name means anything in JSON.
            text.push(b'"');
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b"\":");
            // A vector takes everything.
            let _ = serde_json::to_writer(&mut text, value);
        }
        text.push(b'}');
        text.into()
    }
}

impl RequestContext {
    /// What runs for many callers: nothing of the request of any of them.
    pub(crate) fn of_live_query(id: u64) -> Self {
        Self {
            id: format!("live-{id:016x}").into(),
            method: Method::GET,
            path: "/query".into(),
            headers: Bytes::from_static(b"{}"),
            peer: None,
        }
    }

    /// The settings that tell a function about its request. Always all of them: after a reset an
    /// absent one would be an empty string, on which a policy that casts it to JSON fails.
    pub fn settings(&self) -> [(Cow<'static, str>, Bytes); 3] {
        [
            (
                Cow::Borrowed("request.method"),
                Bytes::copy_from_slice(self.method.as_str().as_bytes()),
            ),
            (
                Cow::Borrowed("request.path"),
                Bytes::copy_from_slice(self.path.as_bytes()),
            ),
            (Cow::Borrowed("request.headers"), self.headers.clone()),
        ]
    }
}

/// Gives a request its context.
pub(crate) fn contextualize(visible: &VisibleHeaders, request: &mut Request) -> RequestContext {
    let context = RequestContext {
        id: request_id(request.headers()),
        method: request.method().clone(),
        path: request.uri().path().into(),
        headers: visible.json(request.headers()),
        peer: request
            .extensions()
            .get::<PeerAddress>()
            .map(|peer| peer.0.ip()),
    };
    request.extensions_mut().insert(context.clone());
    context
}

/// Gives an answer the request's id.
pub(crate) fn identify(context: &RequestContext, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(&context.id) {
        headers.insert(REQUEST_ID, value);
    }
}

fn request_id(headers: &HeaderMap) -> Arc<str> {
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            !id.is_empty()
                && id.len() <= MAX_REQUEST_ID_BYTES
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
        })
        .map_or_else(new_id, Into::into)
}

/// Random bytes of one id.
const ID_BYTES: usize = 10;
/// Random bytes got at a time: asking the operating system for each id would be a system call.
const RANDOM_BYTES: usize = 64 * ID_BYTES;

/// An UUID of version 7.
fn new_id() -> Arc<str> {
    thread_local! {
        /// Random bytes, and how many of them are used up.
        static RANDOM: RefCell<([u8; RANDOM_BYTES], usize)> =
            const { RefCell::new(([0; RANDOM_BYTES], RANDOM_BYTES)) };
    }
    let mut random = [0; ID_BYTES];
    RANDOM.with_borrow_mut(|(bytes, used)| {
        if *used == RANDOM_BYTES {
            aws_lc_rs::rand::fill(bytes).expect("the operating system has random bytes");
            *used = 0;
        }
        random.copy_from_slice(&bytes[*used..*used + ID_BYTES]);
        *used += ID_BYTES;
    });
    let now = SystemClock.now().as_millisecond();
    let milliseconds = u64::try_from(now).unwrap_or_default();
    let id = uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid();
    let mut text = [0; 32];
    let text = &*id.simple().encode_lower(&mut text);
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_that_could_forge_log_lines_is_not_taken_over() {
        let id = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                REQUEST_ID,
                HeaderValue::from_bytes(text.as_bytes()).expect("header"),
            );
            request_id(&headers).to_string()
        };
        assert_eq!(id("abc-1.2:3_4"), "abc-1.2:3_4");
        for bad in ["a b", "a\"b", "", &"x".repeat(129)] {
            assert_ne!(id(bad), bad);
        }
    }

    #[test]
    fn ids_do_not_repeat_and_are_of_version_7() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| new_id()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            let id = uuid::Uuid::try_parse(&id).expect("an UUID");
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
            let (seconds, _) = id.get_timestamp().expect("a time").to_unix();
            let now = SystemClock.now().as_second().unsigned_abs();
            assert!(now.abs_diff(seconds) < 60, "{id}");
        }
    }

    #[test]
    fn credentials_are_never_visible() {
        let visible = VisibleHeaders::new(&[
            "authorization".into(),
            "Cookie".into(),
            "user-agent".into(),
            "bad name".into(),
        ]);
        let mut headers = HeaderMap::new();
        for name in ["authorization", "cookie", "user-agent"] {
            headers.insert(name, HeaderValue::from_static("v"));
        }
        assert_eq!(&visible.json(&headers)[..], br#"{"user-agent":"v"}"#);
    }

    #[test]
    fn visible_headers_are_one_object_with_each_of_them_once() {
        let names = ["x-b", "x-a", "X-B", "x'!#$%&*+.^_`|~", "x-none", "x-binary"];
        let visible = VisibleHeaders::new(&names.map(str::to_owned));
        let mut headers = HeaderMap::new();
        assert_eq!(&visible.json(&headers)[..], b"{}");
        for (name, value) in [
            ("x-b", &b"first"[..]),
            ("x-b", b"second"),
            ("x-a", b"\"quoted\" \\ \t"),
            ("x'!#$%&*+.^_`|~", b"odd"),
            ("x-binary", b"\xff"),
        ] {
            let value = HeaderValue::from_bytes(value).expect("a value");
            headers.append(HeaderName::from_static(name), value);
        }
        let text = visible.json(&headers);
        let object: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let expected = serde_json::json!({
            "x-a": "\"quoted\" \\ \t", "x-b": "first", "x'!#$%&*+.^_`|~": "odd"
        });
        assert_eq!(object, expected);
        let text = std::str::from_utf8(&text).expect("UTF-8");
        assert_eq!(text.matches("\"x-b\"").count(), 1, "{text}");
    }
}
