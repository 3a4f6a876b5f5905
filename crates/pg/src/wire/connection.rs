//! An open connection: bytes out, messages in.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::message::{backend::Message, frontend};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::db_error::DbError;
use super::scram::Channel;
use super::startup::ConnectError;
use super::stream::{Route, Stream};

/// What a cancel request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelKey {
    /// Backend pid.
    pub pid: i32,
    /// The secret the server gave at start-up.
    pub secret: i32,
}

/// A message, or what is known of one that is too long.
pub(crate) enum Incoming {
    /// The message.
    Message(Message),
    /// One of this type that was longer than allowed, and is gone.
    TooLong(u8),
}

/// A message of a stream, or the beginning of one that is too long.
pub(super) enum Piece {
    /// The message.
    Message(Message),
    /// The first bytes of what a long one copies.
    Beginning(Bytes),
}

/// What begins a stream in both directions; `postgres-protocol` has no such message.
const COPY_BOTH_TAG: u8 = b'W';
/// What a stream consists of.
const COPY_DATA_TAG: u8 = b'd';
/// A tag and a length.
const HEADER_BYTES: usize = 5;

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// Bytes still to come of a message that is thrown away.
    skipping: usize,
    cancel: Option<(CancelKey, Route)>,
}

/// Room for a usual answer, so that one `read` brings it whole.
const READ_CHUNK_BYTES: usize = 16 * 1024;
/// The longest message where none of a caller's rows is expected: errors, settings, notices.
const MESSAGE_BYTES: usize = 1024 * 1024;
/// Bytes of answers that are taken in while a batch is still being written. A server with more to
/// say waits until the batch is out, and then meets the bounds of the request.
const READ_AHEAD_BYTES: usize = 64 * 1024 * 1024;
/// How long is listened to a server that has closed the connection.
const LAST_WORDS: Duration = Duration::from_millis(100);

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            incoming: BytesMut::with_capacity(READ_CHUNK_BYTES),
            outgoing: BytesMut::new(),
            skipping: 0,
            cancel: None,
        }
    }

    pub(super) fn write_buffer(&mut self) -> &mut BytesMut {
        &mut self.outgoing
    }

    pub(super) fn channel(&self) -> Channel {
        self.stream.channel()
    }

    pub(super) fn set_cancel_key(&mut self, key: CancelKey, route: Route) {
        self.cancel = Some((key, route));
    }

    pub(super) async fn send_buffered(&mut self) -> io::Result<()> {
        let bytes = self.outgoing.split().freeze();
        self.send(bytes).await
    }

    /// Writes bytes while reading whatever arrives: a server that is busy sending would otherwise
    /// never read a batch larger than the socket's buffers.
    ///
    /// If the server ended the session before it read anything, the error is its own: a `DbError`.
    pub async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        match self.write(bytes).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.last_words().await.unwrap_or(error)),
        }
    }

    async fn write(&mut self, mut bytes: Bytes) -> io::Result<()> {
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        while bytes.has_remaining() {
            tokio::select! {
                biased;
                written = writer.write(&bytes) => match written? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    n => bytes.advance(n),
                },
                read = reader.read_buf(&mut self.incoming),
                    if self.incoming.len() < READ_AHEAD_BYTES => if read? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    },
            }
        }
        writer.flush().await
    }

    /// The error with which the server ended the session, if that is all it has said: it sends one
    /// and closes, and what is written after that fails before the error was read.
    async fn last_words(&mut self) -> Option<io::Error> {
        let _ = timeout(LAST_WORDS, async {
            while self.incoming.len() < MESSAGE_BYTES
                && self.stream.read_buf(&mut self.incoming).await? > 0
            {}
            io::Result::Ok(())
        })
        .await;
        while let Ok(Some(message)) = self.whole(MESSAGE_BYTES) {
            match message {
                Message::NoticeResponse(_)
                | Message::NotificationResponse(_)
                | Message::ParameterStatus(_) => {}
                Message::ErrorResponse(body) => {
                    let error = DbError::from_body(&body);
                    return error.is_fatal().then(|| io::Error::other(error));
                }
                _ => return None,
            }
        }
        None
    }

    /// Throws away what has arrived of a message that is too long.
    fn skip(&mut self) {
        let here = self.skipping.min(self.incoming.len());
        self.incoming.advance(here);
        self.skipping -= here;
    }

    /// The length that the next message says it has, without its tag.
    fn announced(&self) -> Option<(u8, usize)> {
        let (&[tag, a, b, c, d], _) = self.incoming.split_first_chunk()?;
        let length = u32::from_be_bytes([a, b, c, d]);
        Some((tag, usize::try_from(length).unwrap_or(usize::MAX)))
    }

    /// The next message that has already arrived whole; an error if it says that it is longer than
    /// `most` bytes. The parser would make room for it.
    fn whole(&mut self, most: usize) -> io::Result<Option<Message>> {
        self.skip();
        if self.announced().is_some_and(|(_, length)| length > most) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the server sent a message longer than allowed",
            ));
        }
        Message::parse(&mut self.incoming)
    }

    /// The next message that has already arrived whole, unless it is longer than `most` bytes:
    /// such a one is never held in memory.
    pub(crate) fn buffered_within(&mut self, most: usize) -> io::Result<Option<Incoming>> {
        self.skip();
        if let Some((tag, length)) = self.announced()
            && length > most
        {
            // The length counts itself but not the tag.
            self.skipping = length.saturating_add(1);
            self.skip();
            return Ok(Some(Incoming::TooLong(tag)));
        }
        Ok(self.whole(most)?.map(Incoming::Message))
    }

    /// The next message that has already arrived whole.
    pub(super) fn buffered(&mut self) -> io::Result<Option<Message>> {
        self.whole(MESSAGE_BYTES)
    }

    /// Takes the message that begins a stream, if that is the next one.
    pub(super) fn take_copy_both(&mut self) -> bool {
        match self.announced() {
            Some((COPY_BOTH_TAG, length)) if length < self.incoming.len() => {
                self.incoming.advance(length + 1);
                true
            }
            _ => false,
        }
    }

    /// The next message of a stream that has already arrived: whole, or its first `beginning` bytes if it
    /// is longer than `most`, which is more. Of a long one no more than a read is ever held.
    pub(super) fn piece_within(
        &mut self,
        most: usize,
        beginning: usize,
    ) -> io::Result<Option<Piece>> {
        self.skip();
        let Some((COPY_DATA_TAG, length)) = self.announced().filter(|(_, length)| *length > most)
        else {
            return Ok(self.whole(most)?.map(Piece::Message));
        };
        let Some(bytes) = self
            .incoming
            .get(HEADER_BYTES..HEADER_BYTES.saturating_add(beginning))
        else {
            return Ok(None);
        };
        let bytes = Bytes::copy_from_slice(bytes);
        // The length counts itself but not the tag.
        self.skipping = length.saturating_add(1);
        self.skip();
        Ok(Some(Piece::Beginning(bytes)))
    }

    /// Waits until more bytes arrive. Cancel safe.
    pub async fn fill(&mut self) -> io::Result<()> {
        self.incoming.reserve(READ_CHUNK_BYTES);
        match self.stream.read_buf(&mut self.incoming).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Waits for the next message, which is none of a caller's rows. Cancel safe.
    pub async fn receive(&mut self) -> io::Result<Message> {
        self.receive_within(MESSAGE_BYTES).await
    }

    /// The same with another bound.
    pub(super) async fn receive_within(&mut self, most: usize) -> io::Result<Message> {
        loop {
            if let Some(message) = self.whole(most)? {
                return Ok(message);
            }
            self.fill().await?;
        }
    }

    /// Bytes of messages that have arrived but were not taken.
    pub fn pending_bytes(&self) -> usize {
        self.incoming.len()
    }

    /// Asks the server, over a connection of its own, to cancel what runs on this one. That it
    /// was asked does not mean that it did.
    pub async fn request_cancel(&self, limit: Duration) -> io::Result<()> {
        let Some((key, route)) = &self.cancel else {
            return Ok(());
        };
        timeout(limit, async {
            let mut stream = route.connect().await.map_err(|error| match error {
                ConnectError::Io(error) | ConnectError::Tls(error) => error,
                other => io::Error::other(other),
            })?;
            let mut request = BytesMut::new();
            frontend::cancel_request(key.pid, key.secret, &mut request);
            stream.write_all(&request).await?;
            stream.flush().await?;
            // The server closes the connection when it has passed the request on.
            let mut rest = [0_u8; 1];
            let _ = stream.read(&mut rest).await?;
            Ok(())
        })
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Says good-bye and closes. Errors do not matter any more.
    pub async fn close(mut self) {
        frontend::terminate(&mut self.outgoing);
        let bytes = self.outgoing.split().freeze();
        let _ = timeout(Duration::from_secs(1), async {
            self.stream.write_all(&bytes).await?;
            self.stream.shutdown().await
        })
        .await;
    }
}

#[cfg(test)]
mod tests;
