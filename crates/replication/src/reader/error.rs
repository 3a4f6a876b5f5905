//! Why the stream does not go on.

use rolegate_pg::own::OwnPoolError;
use rolegate_pg::wire::ReplicationError;

use crate::assembly::AssemblyError;
use crate::pgoutput::DecodeError;
use crate::relay::RelayError;
use crate::status::Unready;

/// Why the stream does not go on.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// No session.
    #[error("no connection to the database")]
    Connect(#[from] OwnPoolError),
    /// The session or a statement failed.
    #[error("the database refused or went away")]
    Database(#[from] tokio_postgres::Error),
    /// The connection for replication.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// What came is no message.
    #[error("the stream can't be read")]
    Decode(#[from] DecodeError),
    /// What came has no place there.
    #[error("the stream makes no sense")]
    Assembly(#[from] AssemblyError),
    /// A frame that has no meaning, or an answer without what was asked for.
    #[error("the server sent {0}")]
    Unexpected(&'static str),
    /// Nothing came for longer than the server may be silent.
    #[error("the server is silent")]
    Silent,
    /// What the primary wrote has not come through the standby.
    #[error("the standby is behind: what the primary wrote seconds ago has not come")]
    Behind,
    /// The standby was promoted, or follows another server now.
    #[error("the standby does not follow this primary any more")]
    Strayed,
    /// The standby gave no answer.
    #[error("the standby does not answer")]
    NoAnswer,
    /// Another connection still holds the slot.
    #[error("the slot is still in use")]
    SlotInUse,
    /// No key could be made for the relay.
    #[error("the relay can't be offered")]
    Relay(#[from] RelayError),
    /// Somebody has to do something first.
    #[error(transparent)]
    Unready(#[from] Unready),
}

impl StreamError {
    /// Whether it says that the server or the connection was away, and nothing about the stream.
    pub(super) fn is_away(&self) -> bool {
        match self {
            Self::Connect(_)
            | Self::Database(_)
            | Self::Silent
            | Self::Behind
            | Self::Strayed
            | Self::NoAnswer
            | Self::SlotInUse
            | Self::Unready(_) => true,
            Self::Replication(error) => match error.code() {
                // Stopping, killed, no more room for connections, the connection itself.
                Some(code) => {
                    code.starts_with("57P")
                        || code.starts_with("08")
                        || code.starts_with("53")
                        || code.starts_with("28")
                        || code == "55006"
                }
                None => !matches!(error, ReplicationError::Protocol),
            },
            Self::Relay(_) | Self::Decode(_) | Self::Assembly(_) | Self::Unexpected(_) => false,
        }
    }
}
