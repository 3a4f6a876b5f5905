//! A connection in replication mode: commands as text, then a stream in both directions.
//!
//! The server takes no extended protocol here. Commands are ours, and every name in them is quoted by
//! `quote`; nothing of a request ever comes here.

use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::{backend::Message, frontend};

use super::address::{Endpoint, Login};
use super::connection::{Connection, Piece};
use super::db_error::DbError;
use super::startup::ConnectError;

/// Bytes that are kept of a message that is too long.
pub const BEGINNING_BYTES: usize = 256;

/// An open connection in replication mode.
#[derive(Debug)]
pub struct Replication(Connection);

/// What the server streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A whole message.
    Whole(Bytes),
    /// The first [`BEGINNING_BYTES`] of one that was longer than allowed. The rest was never held.
    Beginning(Bytes),
}

/// Why a command or the stream failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationError {
    /// No connection.
    #[error("no connection for replication")]
    Connect(#[from] ConnectError),
    /// It broke.
    #[error("the connection for replication broke")]
    Io(#[from] io::Error),
    /// The server refused a command, or ended the stream.
    #[error("the server refused or ended the replication")]
    Refused(#[source] DbError),
    /// It ended the stream without an error, as it does when it stops.
    #[error("the server ended the stream")]
    Ended,
    /// It sent something that does not belong there.
    #[error("unexpected message during replication")]
    Protocol,
}

impl ReplicationError {
    /// The SQLSTATE, if the server said one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(error) | Self::Connect(ConnectError::Refused(error)) => Some(&error.code),
            Self::Io(error) => {
                let inner = error.get_ref()?.downcast_ref::<DbError>()?;
                Some(&inner.code)
            }
            _ => None,
        }
    }
}

/// A row that a command gave, in text.
pub type TextRow = Vec<Option<String>>;

impl Replication {
    /// Connects to the endpoint's database within `limit`, for logical replication. `settings` are the
    /// session's.
    pub async fn open(
        endpoint: &Endpoint,
        login: &Login,
        settings: &[(&str, &str)],
        limit: Duration,
    ) -> Result<Self, ConnectError> {
        let all = [&[("replication", "database")], settings].concat();
        let (connection, _) = Connection::open(endpoint, login, &all, limit).await?;
        Ok(Self(connection))
    }

    /// Runs a command and gives its rows.
    pub async fn command(&mut self, text: &str) -> Result<Vec<TextRow>, ReplicationError> {
        frontend::query(text, self.0.write_buffer())?;
        self.0.send_buffered().await?;
        let mut rows = Vec::new();
        let mut refused = None;
        loop {
            match self.0.receive().await? {
                Message::DataRow(body) => {
                    let buffer = body.buffer();
                    let text = |range: Option<std::ops::Range<usize>>| {
                        let bytes = range.and_then(|range| buffer.get(range));
                        Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
                    };
                    rows.push(body.ranges().map(text).collect()?);
                }
                Message::ErrorResponse(body) => {
                    let error = DbError::from_body(&body);
                    if error.is_fatal() {
                        return Err(ReplicationError::Refused(error));
                    }
                    refused = Some(error);
                }
                Message::ReadyForQuery(_) => break,
                Message::RowDescription(_)
                | Message::CommandComplete(_)
                | Message::EmptyQueryResponse
                | Message::NoticeResponse(_)
                | Message::ParameterStatus(_) => {}
                _ => return Err(ReplicationError::Protocol),
            }
        }
        refused.map_or(Ok(rows), |error| Err(ReplicationError::Refused(error)))
    }

    /// Runs the command that begins the stream. After it there are no other commands.
    pub async fn start(&mut self, text: &str) -> Result<(), ReplicationError> {
        frontend::query(text, self.0.write_buffer())?;
        self.0.send_buffered().await?;
        loop {
            // The one message that the parser does not know.
            if self.0.take_copy_both() {
                return Ok(());
            }
            match self.0.buffered()? {
                Some(Message::ErrorResponse(body)) => {
                    return Err(ReplicationError::Refused(DbError::from_body(&body)));
                }
                Some(Message::NoticeResponse(_) | Message::ParameterStatus(_)) => {}
                Some(_) => return Err(ReplicationError::Protocol),
                None => self.0.fill().await?,
            }
        }
    }

    /// Waits for the next message of the stream; of one longer than `most` bytes, for its beginning.
    /// Cancel safe.
    pub async fn receive(&mut self, most: usize) -> Result<Frame, ReplicationError> {
        loop {
            match self.0.piece_within(most, BEGINNING_BYTES)? {
                Some(Piece::Beginning(bytes)) => return Ok(Frame::Beginning(bytes)),
                Some(Piece::Message(message)) => match message {
                    Message::CopyData(body) => return Ok(Frame::Whole(body.into_bytes())),
                    Message::ErrorResponse(body) => {
                        return Err(ReplicationError::Refused(DbError::from_body(&body)));
                    }
                    Message::CopyDone | Message::CommandComplete(_) => {
                        return Err(ReplicationError::Ended);
                    }
                    Message::NoticeResponse(_) | Message::ParameterStatus(_) => {}
                    _ => return Err(ReplicationError::Protocol),
                },
                None => self.0.fill().await?,
            }
        }
    }

    /// Sends a message into the stream.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), ReplicationError> {
        let length = i32::try_from(message.len() + 4).map_err(|_| ReplicationError::Protocol)?;
        let buffer = self.0.write_buffer();
        buffer.put_u8(b'd');
        buffer.put_i32(length);
        buffer.put_slice(message);
        Ok(self.0.send_buffered().await?)
    }

    /// Says good-bye and closes.
    pub async fn close(self) {
        self.0.close().await;
    }
}
