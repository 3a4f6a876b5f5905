//! An open connection: bytes out, messages in.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::message::{backend::Message, frontend};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::address::Endpoint;
use super::stream::Stream;

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

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// Bytes still to come of a message that is thrown away.
    skipping: usize,
    cancel: Option<(CancelKey, Endpoint)>,
}

/// Room for a usual answer, so that one `read` brings it whole.
const READ_CHUNK_BYTES: usize = 16 * 1024;

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

    pub(super) fn channel_binding(&self) -> Option<Vec<u8>> {
        self.stream.channel_binding()
    }

    pub(super) fn set_cancel_key(&mut self, key: CancelKey, endpoint: Endpoint) {
        self.cancel = Some((key, endpoint));
    }

    pub(super) async fn send_buffered(&mut self) -> io::Result<()> {
        let bytes = self.outgoing.split().freeze();
        self.send(bytes).await
    }

    /// Writes bytes while reading whatever arrives: a server that is busy sending would otherwise
    /// never read a batch larger than the socket's buffers.
    pub async fn send(&mut self, mut bytes: Bytes) -> io::Result<()> {
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        while bytes.has_remaining() {
            tokio::select! {
                biased;
                written = writer.write(&bytes) => match written? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    n => bytes.advance(n),
                },
                read = reader.read_buf(&mut self.incoming) => if read? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                },
            }
        }
        writer.flush().await
    }

    /// The next message that has already arrived whole.
    pub fn buffered(&mut self) -> io::Result<Option<Message>> {
        Message::parse(&mut self.incoming)
    }

    /// The next message that has already arrived whole, unless it is longer than `most` bytes:
    /// such a one is never held in memory.
    pub(crate) fn buffered_within(&mut self, most: usize) -> io::Result<Option<Incoming>> {
        let skipped = self.skipping.min(self.incoming.len());
        self.incoming.advance(skipped);
        self.skipping -= skipped;
        if let Some((&[tag, a, b, c, d], _)) = self.incoming.split_first_chunk() {
            // The length counts itself but not the tag.
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            if length > most {
                self.skipping = length.saturating_add(1);
                let here = self.skipping.min(self.incoming.len());
                self.incoming.advance(here);
                self.skipping -= here;
                return Ok(Some(Incoming::TooLong(tag)));
            }
        }
        Ok(self.buffered()?.map(Incoming::Message))
    }

    /// Waits until more bytes arrive. Cancel safe.
    pub async fn fill(&mut self) -> io::Result<()> {
        self.incoming.reserve(READ_CHUNK_BYTES);
        match self.stream.read_buf(&mut self.incoming).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Waits for the next message. Cancel safe.
    pub async fn receive(&mut self) -> io::Result<Message> {
        loop {
            if let Some(message) = self.buffered()? {
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
        let Some((key, endpoint)) = &self.cancel else {
            return Ok(());
        };
        timeout(limit, async {
            let mut stream = Stream::connect(&endpoint.address, endpoint.tls).await?;
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
