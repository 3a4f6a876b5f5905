//! What the provider serves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use jsonwebtoken::jwk::JwkSet;
use serde_json::json;
use tokio::sync::watch;

use super::key::SigningKey;

#[derive(Debug)]
pub(super) struct Keys {
    pub(super) current: Vec<SigningKey>,
    /// Published still, but no longer used.
    pub(super) old: Vec<SigningKey>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) keys: Mutex<Keys>,
    pub(super) requests: AtomicU64,
    pub(super) hang: watch::Sender<bool>,
    pub(super) instead: Mutex<Option<(u16, String)>>,
}

impl State {
    pub(super) fn new(current: Vec<SigningKey>) -> Self {
        Self {
            keys: Mutex::new(Keys {
                current,
                old: Vec::new(),
            }),
            requests: AtomicU64::new(0),
            hang: watch::Sender::new(false),
            instead: Mutex::new(None),
        }
    }
}

pub(super) fn routes(state: Arc<State>, issuer: &str) -> Router {
    let discovery = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/jwks.json") });
    Router::new()
        .route("/jwks.json", get(move || jwks(state)))
        .route(
            "/.well-known/openid-configuration",
            get(async || Json(discovery)),
        )
}

async fn jwks(state: Arc<State>) -> Response {
    state.requests.fetch_add(1, Ordering::SeqCst);
    // Fails when the provider is gone, and then so is the client's connection.
    let _ = state.hang.subscribe().wait_for(|hang| !hang).await;
    let instead = state
        .instead
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    if let Some((status, body)) = instead {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return (status, body).into_response();
    }
    let keys = state.keys.lock().unwrap_or_else(PoisonError::into_inner);
    let published: Result<Vec<_>, _> = keys
        .current
        .iter()
        .chain(&keys.old)
        .map(SigningKey::public_jwk)
        .collect();
    match published {
        Ok(jwks) => Json(JwkSet {
            keys: jwks.into_iter().flatten().collect(),
        })
        .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
