//! What a request says besides its body.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use uuid::Uuid;

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
        Self(
            names
                .iter()
                .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
                .filter(|name| !secret.contains(&name.as_str()))
                .collect(),
        )
    }

    fn json(&self, headers: &HeaderMap) -> Bytes {
        let mut seen = serde_json::Map::new();
        for name in self.0.iter() {
            if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) {
                seen.insert(name.as_str().to_owned(), value.into());
            }
        }
        serde_json::Value::Object(seen).to_string().into()
    }
}

impl RequestContext {
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
        .map_or_else(|| Uuid::now_v7().simple().to_string().into(), Into::into)
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
}
