//! Where a server is and how to log in, as types: nothing here is ever formatted into a text.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use secrecy::SecretString;

/// A server's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A Unix socket: the directory and the port in its file name.
    Unix {
        /// Directory of the socket.
        directory: PathBuf,
        /// The port that is part of the socket's name.
        port: u16,
    },
    /// TCP.
    Tcp {
        /// Host name or IP address.
        host: String,
        /// Port.
        port: u16,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { directory, port } => {
                write!(f, "{}/.s.PGSQL.{port}", directory.display())
            }
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Whether the proof of a password has to be bound to the server's certificate; in libpq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    /// It has to be: who does not offer `SCRAM-SHA-256-PLUS` is refused.
    #[default]
    Require,
    /// It is where the server offers it. For poolers and proxies that end TLS and cannot.
    Prefer,
}

/// Whether a TCP connection is encrypted. Unix sockets never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Plain text; for loopback.
    Disable,
    /// TLS, with the certificate verified against the machine's roots and the host name.
    VerifyFull(ChannelBinding),
}

/// How a TCP connection is encrypted, where the roots are the caller's.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Whom to believe.
    pub config: Arc<ClientConfig>,
    /// What of the login is bound to it.
    pub binding: ChannelBinding,
}

impl Tls {
    /// The login has to be bound to the certificate.
    pub fn bound(config: Arc<ClientConfig>) -> Self {
        Self {
            config,
            binding: ChannelBinding::Require,
        }
    }
}

/// A database on a server.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The server.
    pub address: Address,
    /// Encryption of TCP connections.
    pub tls: TlsMode,
    /// The database.
    pub database: String,
}

/// Who logs in.
#[derive(Debug, Clone)]
pub struct Login {
    /// The role.
    pub user: String,
    /// Its password, for SCRAM. Without one the server must let the role in by `peer` or by a
    /// client certificate.
    pub password: Option<SecretString>,
}

impl Login {
    /// A login without a password.
    pub fn peer(user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            password: None,
        }
    }
}
