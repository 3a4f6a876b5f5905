//! A connection and the task-side of its life: take a request, run it, clean up, be ready again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use postgres_protocol::message::backend::Message;
use rolegate_model::claims::Binding;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::{Segment, SegmentWriter, Session};
use super::hygiene;
use super::names::Names;
use super::reply::{Reply, SessionError};
use super::request::{ClaimsSigner, Request};
use crate::wire::{Batch, ConnectError, Connection, DbError, Endpoint, Login};

mod answer;
mod rest;
mod setup;

use answer::Answer;
use rest::Rest;

/// How long a cancelled statement may take to end before the connection is given up.
const CANCEL_GRACE: Duration = Duration::from_secs(3);
/// How long one request to cancel may take to be passed on.
const CANCEL_REQUEST: Duration = Duration::from_secs(1);
/// Pauses between requests to cancel: they double from the first to the longest.
const CANCEL_FIRST_PAUSE: Duration = Duration::from_millis(10);
const CANCEL_LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A request and where its answer goes.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Result<Reply, SessionError>>,
}

/// What all connections of a pool have in common.
#[derive(Debug)]
pub(crate) struct WorkerSettings {
    pub(crate) endpoint: Endpoint,
    pub(crate) login: Login,
    pub(crate) signer: Arc<dyn ClaimsSigner>,
    /// Schema of our own objects.
    pub(crate) schema: String,
    pub(crate) connect_timeout: Duration,
}

/// A connection logged in as one role.
#[derive(Debug)]
pub(crate) struct Worker {
    connection: Connection,
    batch: Batch,
    names: Names,
    binding: Binding,
    /// The server lets SQL end a read-only transaction by a reset.
    read_only_resets: bool,
    /// The clean segment; `None` where callers can read names.
    hygiene: Option<hygiene::Prepared>,
    /// Not to be used again, however clean it looks.
    spent: bool,
}

/// How a request is being cancelled.
#[derive(Debug)]
struct Cancelling {
    /// When to ask again.
    again: Instant,
    /// Between the next two.
    pause: Duration,
    give_up: Instant,
}

impl Cancelling {
    fn begin() -> Self {
        let now = Instant::now();
        Self {
            again: now,
            pause: CANCEL_FIRST_PAUSE,
            give_up: now + CANCEL_GRACE,
        }
    }
}

/// What is left of a connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// Clean; the next request may come.
    Clean,
    /// To be closed.
    Spent,
}

impl Worker {
    /// Connects and learns what it needs to know about the session.
    pub(crate) async fn open(settings: &WorkerSettings) -> Result<Self, ConnectError> {
        setup::open(settings).await
    }

    /// Waits for something to go wrong with an idle connection. Cancel safe.
    pub(crate) async fn idle(&mut self) -> io::Error {
        loop {
            match self.connection.receive().await {
                Ok(Message::ErrorResponse(body)) => {
                    return io::Error::other(DbError::from_body(&body));
                }
                // Settings changed on the server, a notice: nothing to do with any request.
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }

    /// Closes the connection politely.
    pub(crate) async fn close(self) {
        self.connection.close().await;
    }

    /// Runs one request and answers it; then cleans the session.
    pub(crate) async fn run(
        &mut self,
        settings: &WorkerSettings,
        job: Job,
        revoked: &CancellationToken,
    ) -> Health {
        let Job { request, mut reply } = job;
        let mut answer = Answer::new(request.limits, request.stream.is_some());
        let ran = self
            .first_segment(settings, request, &mut answer, &mut reply, revoked)
            .await;
        let was_open = match ran {
            Ok(status) => status != b'I',
            Err(error) => {
                let _ = reply.send(Err(answer.broken(error)));
                return Health::Spent;
            }
        };
        // The caller has the answer before the session is cleaned.
        let _ = reply.send(answer.outcome());
        match tokio::time::timeout(CANCEL_GRACE, self.second_segment(was_open)).await {
            Ok(Ok(true)) if !self.spent => Health::Clean,
            Ok(Ok(false)) => {
                metrics::counter!("rolegate_session_disturbed_total").increment(1);
                tracing::warn!(user = %settings.login.user, "session_disturbed");
                Health::Spent
            }
            Ok(Ok(true) | Err(_)) | Err(_) => Health::Spent,
        }
    }

    /// Writes the request and reads up to the end of the first segment; gives the transaction
    /// status.
    async fn first_segment(
        &mut self,
        settings: &WorkerSettings,
        mut request: Request,
        answer: &mut Answer,
        reply: &mut oneshot::Sender<Result<Reply, SessionError>>,
        revoked: &CancellationToken,
    ) -> io::Result<u8> {
        let session = Session {
            user: &settings.login.user,
            binding: self.binding,
            signer: settings.signer.as_ref(),
            names_visible: self.hygiene.is_none(),
            read_only_resets: self.read_only_resets,
        };
        let mut segment = Segment::default();
        let mut writer = SegmentWriter {
            batch: &mut self.batch,
            names: &mut self.names,
            segment: &mut segment,
        };
        writer.open(&session, &request)?;
        let mut rest = Rest::of(&mut request);
        if rest.is_empty() {
            writer.close(&session, &request, None)?;
            hygiene::write(&mut self.batch, self.hygiene.as_ref())?;
        } else {
            writer.batch.flush();
        }
        let stream = request.stream.take();
        answer.expect(segment, request.statements.len());
        let deadline = tokio::time::sleep_until(request.limits.deadline);
        tokio::pin!(deadline);
        let bytes = self.batch.take();
        let sent = tokio::select! {
            biased;
            sent = self.connection.send(bytes) => Some(sent?),
            () = &mut deadline => None,
            () = reply.closed() => None,
            () = revoked.cancelled() => None,
        };
        if sent.is_none() {
            // Half a batch can't be taken back. What the server has of it may be running.
            self.ask_to_cancel().await;
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut cancelling: Option<Cancelling> = None;
        loop {
            while let Some(incoming) = self.connection.buffered_within(answer.most_bytes())? {
                if let Some(status) =
                    answer.first_segment(incoming, &mut self.names, stream.as_ref())?
                {
                    if answer.succeeded()
                        && let Some(stream) = stream
                    {
                        stream.finish();
                    }
                    return Ok(status);
                }
            }
            if answer.calls_are_over() && !rest.is_empty() {
                let mut segment = answer.take_segment();
                let mut writer = SegmentWriter {
                    batch: &mut self.batch,
                    names: &mut self.names,
                    segment: &mut segment,
                };
                rest.write(&mut writer, &session, &request, answer)?;
                answer.put_segment(segment);
                if rest.is_empty() {
                    hygiene::write(&mut self.batch, self.hygiene.as_ref())?;
                }
                let bytes = self.batch.take();
                tokio::time::timeout(CANCEL_GRACE, self.connection.send(bytes))
                    .await
                    .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                continue;
            }
            if answer.is_interrupted() {
                self.cancel(cancelling.get_or_insert_with(Cancelling::begin))
                    .await?;
                continue;
            }
            // The answer last: rows that never stop coming must not hide the end of the time.
            tokio::select! {
                biased;
                () = &mut deadline => answer.interrupt(SessionError::Deadline),
                () = reply.closed() => answer.interrupt(SessionError::Abandoned),
                () = revoked.cancelled() => answer.interrupt(SessionError::Revoked),
                filled = self.connection.fill() => filled?,
            }
        }
    }

    /// Waits for the next bytes of a request that is to end, asking for a cancel from time to
    /// time: one that finds the server between two statements has no effect.
    async fn cancel(&mut self, cancelling: &mut Cancelling) -> io::Result<()> {
        let now = Instant::now();
        if now >= cancelling.give_up {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if now >= cancelling.again {
            self.ask_to_cancel().await;
            cancelling.again = Instant::now() + cancelling.pause;
            cancelling.pause = (2 * cancelling.pause).min(CANCEL_LONGEST_PAUSE);
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(cancelling.again) => Ok(()),
            filled = self.connection.fill() => filled,
        }
    }

    async fn ask_to_cancel(&mut self) {
        if let Err(error) = self.connection.request_cancel(CANCEL_REQUEST).await {
            // It may still be on its way, and must not meet the next request.
            self.spent = true;
            tracing::debug!(%error, "cancel_failed");
        }
    }

    /// Reads the clean segment; whether the session is as it should be.
    async fn second_segment(&mut self, was_open: bool) -> io::Result<bool> {
        let mut clean = self.read_clean(hygiene::STEPS).await?;
        if was_open {
            // An explicit transaction failed and is still open: the clean segment failed in it.
            self.batch.once("rollback", &[], &[])?;
            hygiene::write(&mut self.batch, self.hygiene.as_ref())?;
            let bytes = self.batch.take();
            self.connection.send(bytes).await?;
            clean = self.read_clean(hygiene::STEPS + 1).await?;
        }
        Ok(clean)
    }

    async fn read_clean(&mut self, steps: usize) -> io::Result<bool> {
        let mut completed = 0;
        let mut undisturbed = false;
        loop {
            match self.connection.receive().await? {
                Message::DataRow(row) => {
                    let values = answer::columns(&row)?;
                    undisturbed = hygiene::undisturbed(&values, &self.names, self.hygiene.as_ref());
                }
                Message::CommandComplete(_) => completed += 1,
                Message::ReadyForQuery(body) => {
                    return Ok(undisturbed && completed == steps && body.status() == b'I');
                }
                _ => {}
            }
        }
    }
}
