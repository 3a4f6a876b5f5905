//! Our small client for the PostgreSQL protocol.
//!
//! It exists because the safety of a call depends on where `Sync` stands, which no driver lets its
//! user say. It speaks only the extended protocol, in text format, and knows nothing of roles.

mod address;
mod batch;
mod certificate;
mod connection;
mod db_error;
mod scram;
mod startup;
mod stream;

pub use address::{Address, ChannelBinding, Endpoint, Login, Tls, TlsMode};
pub use batch::Batch;
pub(crate) use connection::Incoming;
pub use connection::{CancelKey, Connection};
pub use db_error::DbError;
pub use startup::{Accepted, AuthenticationKind, ConnectError};
pub use stream::tls_config;
