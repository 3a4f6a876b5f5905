//! The console surface: where it may listen.
//!
//! It is for the operators' own network. Its answers carry tokens, and it has no TLS of its own,
//! so that beyond loopback somebody has to have put TLS in front of it, and to say so.

use std::io;
use std::net::SocketAddr;

use crate::serve::Listener;

/// Where the console listens.
#[derive(Debug, Clone, Copy)]
pub struct ConsoleConfig {
    /// Its address.
    pub bind: SocketAddr,
    /// An address beyond loopback is accepted: TLS is in front.
    pub allow_public_bind: bool,
}

/// Why the console does not listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Anybody on that network could read tokens as they pass.
    #[error(
        "the console does not listen on {0}, which is beyond loopback: put TLS in front of it and \
         set console.allow_public_bind = true"
    )]
    Public(SocketAddr),
    /// The address can't be taken.
    #[error("the console can't listen on {0}")]
    Taken(SocketAddr, #[source] io::Error),
}

/// Binds, unless the address is beyond loopback and nobody has said that this is meant.
pub async fn bind(config: ConsoleConfig) -> Result<Listener, BindError> {
    let ConsoleConfig {
        bind,
        allow_public_bind,
    } = config;
    if !bind.ip().is_loopback() {
        if !allow_public_bind {
            return Err(BindError::Public(bind));
        }
        tracing::warn!(%bind, "console_beyond_loopback");
    }
    Listener::bind(bind)
        .await
        .map_err(|error| BindError::Taken(bind, error))
}
