//! A stub identity provider: signs tokens, serves its public keys, and misbehaves on command.

mod key;
mod pages;

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use jsonwebtoken::{Algorithm, Header};
pub use key::{KeyError, SigningKey};

use pages::State;

/// A provider on a free port of 127.0.0.1, over plain HTTP. It stops when this is dropped.
#[derive(Debug)]
pub struct IdentityProvider {
    issuer: String,
    state: Arc<State>,
    server: JoinHandle<()>,
}

/// Why the provider did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key could not be made.
    #[error("the provider's keys cannot be made")]
    Key(#[from] KeyError),
    /// No port could be had.
    #[error("the provider cannot listen on 127.0.0.1")]
    Listen(#[from] std::io::Error),
}

impl IdentityProvider {
    /// Starts with one key for each of `algorithms`.
    pub async fn start(algorithms: &[Algorithm]) -> Result<Self, StartError> {
        let keys = algorithms
            .iter()
            .map(|&a| SigningKey::generate(a))
            .collect::<Result<_, _>>()?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let issuer = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(State::new(keys));
        let routes = pages::routes(Arc::clone(&state), &issuer);
        let server = tokio::spawn(async move {
            // It ends with its task, and has no other way to fail.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self {
            issuer,
            state,
            server,
        })
    }

    /// The issuer, for `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where the public keys are.
    pub fn jwks_url(&self) -> String {
        format!("{}/jwks.json", self.issuer)
    }

    /// The current key for `algorithm`. Fails the test if the provider was started without one.
    pub fn key(&self, algorithm: Algorithm) -> SigningKey {
        self.state
            .keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .current
            .iter()
            .find(|key| key.algorithm() == algorithm)
            .cloned()
            .unwrap_or_else(|| panic!("the identity provider has no key for {algorithm:?}"))
    }

    /// Signs `claims` as they are, with the current key for `algorithm` and its `kid`.
    pub fn sign(&self, algorithm: Algorithm, claims: &Value) -> String {
        self.key(algorithm).sign(claims)
    }

    /// Signs `claims` with `iss` set to this provider.
    pub fn issue(&self, algorithm: Algorithm, mut claims: Value) -> String {
        if let Value::Object(members) = &mut claims {
            members.insert("iss".to_owned(), json!(self.issuer));
        }
        self.sign(algorithm, &claims)
    }

    /// Replaces every key by a new one. The old ones stay in the published set if `keep_old`.
    pub fn rotate(&self, keep_old: bool) -> Result<(), KeyError> {
        let mut keys = self
            .state
            .keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let fresh = keys
            .current
            .iter()
            .map(|key| SigningKey::generate(key.algorithm()))
            .collect::<Result<_, _>>()?;
        let old = std::mem::replace(&mut keys.current, fresh);
        if keep_old {
            keys.old.extend(old);
        } else {
            keys.old.clear();
        }
        Ok(())
    }

    /// How often the public keys were asked for, answered or not.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Whether requests get no answer at all. Those that wait are answered when this ends.
    pub fn hang(&self, hang: bool) {
        self.state.hang.send_replace(hang);
    }

    /// Answers with this status and body instead of the keys; `None` ends it.
    pub fn answer_instead(&self, answer: Option<(u16, String)>) {
        *self
            .state
            .instead
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        self.server.abort();
    }
}
