//! Our small client for the PostgreSQL protocol.
//!
//! It exists because the safety of a call depends on where `Sync` stands, which no driver lets its
//! user say. It speaks the extended protocol, in text format, and knows nothing of roles. The same login also
//! opens connections for replication, which no driver does.

mod address;
mod batch;
mod certificate;
mod connection;
mod db_error;
mod replication;
mod scram;
mod startup;
mod stream;

pub use address::{Address, ChannelBinding, Endpoint, Login, Tls, TlsMode};
pub use batch::Batch;
pub(crate) use connection::Incoming;
pub use connection::{CancelKey, Connection};
pub use db_error::DbError;
pub use replication::{BEGINNING_BYTES, Frame, Replication, ReplicationError, TextRow};
pub use startup::{Accepted, AuthenticationKind, ConnectError};
pub use stream::tls_config;
