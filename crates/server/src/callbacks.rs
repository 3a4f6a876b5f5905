//! The callbacks surface: where answers to waiting jobs come in. It is public, has a listener and a
//! login of its own, and does nothing else.

mod answer;
mod call;
mod judge;
mod receive;
mod store;
mod unknown;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use rolegate_auth::callback::{Action, Verifier, normal_prefix};
use rolegate_model::Clock;
use rolegate_pg::EngineSql;
use rolegate_pg::own::{OwnPool, OwnPoolError};
use rolegate_pg::wire::{Endpoint, Login};

use crate::request::VisibleHeaders;
use crate::serve::{ListenLimits, Listener};
use crate::surface::Surface;

use judge::Judge;
use store::Store;
use unknown::UnknownIds;

/// Connections to the database.
pub const CONNECTIONS: usize = 8;

/// Who may call.
#[derive(Debug, Clone)]
pub enum Callers {
    /// Who signs with one of the keys.
    Signed(Verifier),
    /// Anybody who reaches the listener, which is on loopback.
    Unsigned,
}

/// How the surface behaves.
#[derive(Debug, Clone)]
pub struct CallbacksConfig {
    /// Its address.
    pub bind: SocketAddr,
    /// In front of the ids.
    pub prefix: String,
    /// Who may call.
    pub callers: Callers,
    /// Bytes of a body.
    pub max_body_bytes: usize,
    /// How long a client may take to send it.
    pub body_timeout: Duration,
    /// Connections at the same time.
    pub max_connections: usize,
}

/// Why the surface does not start.
#[derive(Debug, thiserror::Error)]
pub enum CallbacksError {
    /// Anybody could end anybody's jobs.
    #[error(
        "callbacks: without signatures it listens on loopback only, not on {0}; set \
         callbacks.key_files"
    )]
    UnsignedBeyondLoopback(SocketAddr),
    /// It would be a pattern of routes.
    #[error(
        "callbacks.prefix: `{0}` is no path; its parts have letters, digits, dots, hyphens, \
         underscores and tildes"
    )]
    Prefix(String),
    /// The address can't be taken.
    #[error("callbacks.bind: can't listen on {0}")]
    Bind(SocketAddr, #[source] io::Error),
    /// The login's pool can't be built.
    #[error("the receiver's connections")]
    Pool(#[from] OwnPoolError),
}

/// A surface that is bound and not served yet.
#[derive(Debug)]
pub struct Callbacks {
    listener: Listener,
    limits: ListenLimits,
    router: Router,
    pool: OwnPool,
}

/// What the handlers share.
#[derive(Clone)]
struct Receiver(Arc<Inner>);

struct Inner {
    prefix: String,
    callers: Callers,
    max_body_bytes: usize,
    body_timeout: Duration,
    store: Store,
    judge: Judge,
    unknown: UnknownIds,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

impl Callbacks {
    /// Binds, for the jobs of a database: where it is, the receiver's login, the engine's schema.
    pub async fn bind(
        config: CallbacksConfig,
        endpoint: &Endpoint,
        login: &Login,
        engine_schema: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CallbacksError> {
        let prefix = prefix(&config.prefix)?;
        if matches!(config.callers, Callers::Unsigned) {
            if !config.bind.ip().is_loopback() {
                return Err(CallbacksError::UnsignedBeyondLoopback(config.bind));
            }
            tracing::warn!(bind = %config.bind, "callbacks_unsigned");
        }
        let pool = OwnPool::new(endpoint, login, CONNECTIONS)?;
        let listener = Listener::bind(config.bind)
            .await
            .map_err(|error| CallbacksError::Bind(config.bind, error))?;
        let store = Store::new(pool.clone(), &EngineSql::new(engine_schema));
        let receiver = Receiver(Arc::new(Inner {
            prefix,
            callers: config.callers,
            max_body_bytes: config.max_body_bytes,
            body_timeout: config.body_timeout,
            store,
            judge: Judge::default(),
            unknown: UnknownIds::default(),
            clock,
        }));
        Ok(Self {
            listener,
            limits: ListenLimits {
                max_connections: config.max_connections,
                // Bodies are held in memory.
                max_streams: 8,
                ..ListenLimits::default()
            },
            router: routes(receiver),
            pool,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The connections, for readiness.
    pub fn pool(&self) -> &OwnPool {
        &self.pool
    }

    /// Serves until `stop`, then lets open calls end.
    pub async fn serve(self, stop: tokio_util::sync::CancellationToken) {
        self.listener.serve(self.router, self.limits, stop).await;
        self.pool.close();
    }
}

/// All there is on the listener.
fn routes(receiver: Receiver) -> Router {
    let mut routes = Router::new();
    for action in Action::ALL {
        let path = format!("{}/{{callback_id}}/{action}", receiver.0.prefix);
        let handler =
            move |state, context, request| receive::handle(state, context, action, request);
        routes = routes.route(&path, post(handler));
    }
    routes
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed)
        .with_state(receiver)
        // No function sees anything of a call, and no browser may make one.
        .layer(Surface::new("callbacks", VisibleHeaders::new(&[]), &[]))
}

fn prefix(text: &str) -> Result<String, CallbacksError> {
    let prefix = normal_prefix(text);
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    if prefix.is_empty() || prefix[1..].split('/').all(part) {
        Ok(prefix)
    } else {
        Err(CallbacksError::Prefix(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_plain_path() {
        for (text, expected) in [
            ("", ""),
            ("/", ""),
            ("/api/callbacks", "/api/callbacks"),
            ("hooks/", "/hooks"),
        ] {
            assert_eq!(prefix(text).expect(text), expected);
        }
        for text in ["/{id}", "/a//b", "/a b", "/*rest", "/ä", "/a?b"] {
            assert!(prefix(text).is_err(), "{text}");
        }
    }
}
