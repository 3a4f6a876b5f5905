//! The stream itself.

use std::convert::Infallible;
use std::time::Duration;

use rolegate_pg::wire::{Frame, Replication};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::StreamError;
use super::session::Mark;
use super::told::Told;
use crate::assembly::Assembler;
use crate::commit::Commit;
use crate::config::StreamConfig;
use crate::epoch::Epoch;
use crate::feed::Feed;
use crate::lsn::Lsn;
use crate::pgoutput::{Head, Message};

/// The longest message that is held; of a longer one the beginning is enough.
const MESSAGE_BYTES: usize = 1024 * 1024;
/// The server says something in half of its `wal_sender_timeout`, which is 15 seconds.
const SILENCE: Duration = Duration::from_secs(20);
/// Between two reports that nobody asked for.
const REPORT: Duration = Duration::from_secs(1);

/// How a message of ours about a new epoch begins.
const NEW_EPOCH: &str = "epoch ";

/// Bytes before the message in a frame of data.
const DATA_HEADER: usize = 24;

/// A stream that has been started.
#[derive(Debug)]
pub(super) struct Stream {
    connection: Replication,
    assembler: Assembler,
    /// What ends before it was told already.
    from: Lsn,
    /// Up to where the server has sent.
    received: Lsn,
    confirmed: watch::Receiver<Lsn>,
    /// What has to come before anything that is known is current.
    mark: Option<Mark>,
    /// What was read and goes out next.
    told: Vec<Told>,
    reported: (Lsn, Lsn),
    reported_at: Instant,
}

impl Stream {
    pub(super) fn new(
        connection: Replication,
        assembler: Assembler,
        from: Lsn,
        confirmed: watch::Receiver<Lsn>,
        mark: Option<Mark>,
    ) -> Self {
        Self {
            connection,
            assembler,
            from,
            received: from,
            confirmed,
            mark,
            told: Vec::new(),
            reported: (Lsn::default(), Lsn::default()),
            reported_at: Instant::now(),
        }
    }

    /// Follows until something breaks. What was read goes to `through`, if that is there, and to the feed if not.
    pub(super) async fn follow(
        mut self,
        through: Option<mpsc::Sender<Told>>,
        config: &StreamConfig,
        feed: &Feed,
    ) -> Result<Infallible, StreamError> {
        let mut heard = Instant::now();
        loop {
            let silent = heard + SILENCE;
            let next = if self.owes() {
                silent.min(self.reported_at + REPORT)
            } else {
                silent
            };
            tokio::select! {
                biased;
                frame = self.connection.receive(MESSAGE_BYTES) => {
                    heard = Instant::now();
                    let wanted = self.frame(&frame?)?;
                    for told in self.told.drain(..) {
                        match &through {
                            None => told.tell(config, feed),
                            // The receiver lives as long as this does.
                            Some(through) => through
                                .send(told)
                                .await
                                .map_err(|_| StreamError::Unexpected("nothing any more"))?,
                        }
                    }
                    if wanted || (self.owes() && heard >= self.reported_at + REPORT) {
                        self.report().await?;
                    }
                }
                changed = self.confirmed.changed() => {
                    // The sender lives as long as this does.
                    changed.map_err(|_| StreamError::Unexpected("nothing any more"))?;
                    self.report().await?;
                }
                () = sleep_until(next) => {
                    if Instant::now() >= silent {
                        return Err(StreamError::Silent);
                    }
                    self.report().await?;
                }
            }
        }
    }

    /// Whether the server does not know yet how far we are.
    fn owes(&self) -> bool {
        self.reported != self.due()
    }

    /// What was received, and what is on disk.
    fn due(&self) -> (Lsn, Lsn) {
        (self.received, *self.confirmed.borrow())
    }

    /// Tells the server how far we are. It may forget what was written down, and nothing else.
    async fn report(&mut self) -> Result<(), StreamError> {
        let (received, confirmed) = self.due();
        let mut message = Vec::with_capacity(34);
        message.push(b'r');
        for lsn in [received, confirmed, confirmed] {
            message.extend(lsn.0.to_be_bytes());
        }
        // Our clock, which nobody reads, and whether an answer is wanted.
        message.extend([0; 9]);
        self.connection.send(&message).await?;
        self.reported = (received, confirmed);
        self.reported_at = Instant::now();
        Ok(())
    }

    /// Takes a frame; whether the server wants to know how far we are.
    fn frame(&mut self, frame: &Frame) -> Result<bool, StreamError> {
        match frame {
            Frame::Beginning(bytes) => {
                let head = data(bytes)?;
                self.assembler.take_head(Head(head))?;
            }
            Frame::Whole(bytes) if bytes.first() == Some(&b'k') => {
                let (wal_end, wanted) = keepalive(bytes)?;
                self.received = self.received.max(wal_end);
                // In the middle of a transaction it may be past the changes and before the commit.
                if !self.assembler.is_open() {
                    self.told.push(Told::Passed(wal_end));
                }
                return Ok(wanted);
            }
            Frame::Whole(bytes) => {
                let message = Message::decode(data(bytes)?)?;
                if let Some(commit) = self.assembler.take(&message)? {
                    self.commit(commit);
                }
            }
        }
        Ok(false)
    }

    fn commit(&mut self, mut commit: Commit) {
        let end = commit.end_lsn;
        self.received = self.received.max(end);
        if end <= self.from {
            return;
        }
        let caught = self.mark.take_if(|mark| mark.is(&commit)).is_some();
        let renewed = commit
            .messages
            .iter()
            .rev()
            .find_map(|text| text.strip_prefix(NEW_EPOCH))
            .map(Epoch::new);
        commit.messages.retain(|text| !text.starts_with(NEW_EPOCH));
        self.told.push(if commit.is_empty() {
            Told::Passed(end)
        } else {
            Told::Commit(commit)
        });
        if let Some(epoch) = renewed {
            self.told.push(Told::Epoch(epoch, end));
        }
        if caught {
            self.told.push(Told::Caught);
        }
    }
}

/// The message in a frame of data.
fn data(frame: &[u8]) -> Result<&[u8], StreamError> {
    match frame.split_first() {
        Some((b'w', rest)) => rest.get(DATA_HEADER..),
        _ => None,
    }
    .ok_or(StreamError::Unexpected(
        "a frame that is neither data nor a sign of life",
    ))
}

/// Up to where the server has sent, and whether it wants an answer.
fn keepalive(frame: &[u8]) -> Result<(Lsn, bool), StreamError> {
    let end = frame.get(1..9).and_then(|bytes| bytes.try_into().ok());
    match (end, frame.get(17..)) {
        (Some(end), Some([wanted])) => Ok((Lsn(u64::from_be_bytes(end)), *wanted != 0)),
        _ => Err(StreamError::Unexpected("a strange sign of life")),
    }
}
