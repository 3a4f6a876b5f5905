//! `/.well-known/`: what others need to know about us.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::rpc;
use crate::router::App;

/// How long others may keep our keys; a new key signs nothing for longer than that.
const KEYS_CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// Our public keys, of all databases.
pub(crate) async fn jwks(State(app): State<App>) -> Response {
    let mut keys = Vec::new();
    for database in app.databases() {
        let Some(signing) = &database.signing else {
            continue;
        };
        let document: Value = serde_json::from_str(&signing.jwks()).unwrap_or_default();
        if let Some(own) = document.get("keys").and_then(Value::as_array) {
            keys.extend(own.iter().cloned());
        }
    }
    cacheable(&json!({ "keys": keys }))
}

/// RFC 9728: which resource this is and how to present a token.
pub(crate) async fn protected_resource(State(app): State<App>) -> Response {
    let resource = app.config().public_url.clone();
    let mut document = json!({
        "bearer_methods_supported": ["header"],
        "resource_name": app.config().title,
    });
    if let Some(resource) = resource {
        document["resource"] = resource.trim_end_matches('/').into();
        document["jwks_uri"] =
            format!("{}/.well-known/jwks.json", resource.trim_end_matches('/')).into();
    }
    cacheable(&document)
}

fn cacheable(document: &Value) -> Response {
    let mut response = rpc::json(StatusCode::OK, Bytes::from(document.to_string()));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, KEYS_CACHE);
    response
}
