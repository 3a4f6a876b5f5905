//! The queue and the counters of one login.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_channel::TrySendError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::SharedConnectError;
use crate::session::{Job, SessionError, WorkerSettings};

/// One login's connections.
#[derive(Debug)]
pub(super) struct LoginPool {
    pub(super) settings: WorkerSettings,
    /// Cancelled when the login's rights changed: idle connections close, running requests are
    /// cancelled.
    pub(super) revoked: CancellationToken,
    sender: async_channel::Sender<Queued>,
    receiver: async_channel::Receiver<Queued>,
    size: AtomicUsize,
    idle: AtomicUsize,
    /// Connections that exist.
    connected: AtomicUsize,
    /// Attempts to connect that have not ended.
    attempts: AtomicUsize,
}

/// A job on its way to a connection. Either the connection takes it or its caller gives it up,
/// never both.
#[derive(Debug)]
pub(super) struct Queued {
    job: Job,
    taken: Arc<AtomicBool>,
    /// Only a connection that was begun after this moment may take it.
    after: Option<Instant>,
}

/// What a connection finds when it looks for work.
#[derive(Debug)]
pub(super) enum Next {
    Job(Job),
    /// Nothing.
    Empty,
    /// A job for a younger connection: this one is in its way.
    NotMine,
}

/// The caller's side of a [`Queued`] job.
#[derive(Debug)]
pub(super) struct Ticket(Arc<AtomicBool>);

impl Ticket {
    /// Takes the job back if no connection has it yet.
    pub(super) fn give_up(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// Why a job was not queued.
#[derive(Debug)]
pub(super) enum Rejected {
    /// As many wait as may.
    Full,
    /// The pool was closed in the meantime; the job is handed back.
    Closed(Box<Job>),
}

impl LoginPool {
    pub(super) fn new(settings: WorkerSettings, max_waiting: usize) -> Self {
        let (sender, receiver) = async_channel::bounded(max_waiting.max(1));
        Self {
            settings,
            revoked: CancellationToken::new(),
            sender,
            receiver,
            size: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            connected: AtomicUsize::new(0),
            attempts: AtomicUsize::new(0),
        }
    }

    /// Queues a job.
    pub(super) fn submit(&self, job: Job, after: Option<Instant>) -> Result<Ticket, Rejected> {
        let taken = Arc::new(AtomicBool::new(false));
        let queued = Queued {
            job,
            taken: Arc::clone(&taken),
            after,
        };
        let sent = match self.sender.try_send(queued) {
            Err(TrySendError::Full(queued)) => {
                self.drop_dead();
                self.sender.try_send(queued)
            }
            sent => sent,
        };
        match sent {
            Ok(()) => Ok(Ticket(taken)),
            Err(TrySendError::Full(_)) => Err(Rejected::Full),
            Err(TrySendError::Closed(queued)) => Err(Rejected::Closed(Box::new(queued.job))),
        }
    }

    /// Takes out of the queue what nobody waits for any more: while all connections are busy, it
    /// would keep others from waiting.
    fn drop_dead(&self) {
        for _ in 0..self.receiver.len() {
            let Ok(queued) = self.receiver.try_recv() else {
                return;
            };
            if queued.taken.load(Ordering::Acquire) || queued.job.reply.is_closed() {
                continue;
            }
            // After a whole round the order is the same.
            self.put_back(queued);
        }
    }

    /// Puts a job back at the end of the queue.
    fn put_back(&self, queued: Queued) {
        if let Err(TrySendError::Full(queued) | TrySendError::Closed(queued)) =
            self.sender.try_send(queued)
        {
            // The place was taken, or the pool closed, in the meantime.
            let _ = queued.job.reply.send(Err(SessionError::Overloaded));
        }
    }

    /// The next job if there is one now, for a connection that was begun at `begun`.
    pub(super) fn try_take(&self, begun: Instant) -> Next {
        while let Ok(queued) = self.receiver.try_recv() {
            match self.give(queued, begun) {
                Next::Empty => {}
                next => return next,
            }
        }
        Next::Empty
    }

    /// Waits for the next job; [`Next::Empty`] when the pool is closed and empty. Cancel safe.
    pub(super) async fn take(&self, begun: Instant) -> Next {
        let _idle = Counted::new(&self.idle);
        while let Ok(queued) = self.receiver.recv().await {
            match self.give(queued, begun) {
                Next::Empty => {}
                next => return next,
            }
        }
        Next::Empty
    }

    fn give(&self, queued: Queued, begun: Instant) -> Next {
        if queued.after.is_some_and(|after| begun <= after) {
            self.put_back(queued);
            return Next::NotMine;
        }
        if queued.taken.swap(true, Ordering::AcqRel) {
            return Next::Empty;
        }
        Next::Job(queued.job)
    }

    /// All jobs that wait.
    fn drain(&self) -> impl Iterator<Item = Job> {
        std::iter::from_fn(|| self.receiver.try_recv().ok())
            .filter(|queued| !queued.taken.swap(true, Ordering::AcqRel))
            .map(|queued| queued.job)
    }

    /// Jobs nobody has taken yet.
    pub(super) fn waiting(&self) -> usize {
        self.receiver.len()
    }

    /// Whether anybody really waits.
    pub(super) fn is_wanted(&self) -> bool {
        self.drop_dead();
        self.waiting() > 0
    }

    /// Connections that wait for a job.
    pub(super) fn idle(&self) -> usize {
        self.idle.load(Ordering::Acquire)
    }

    pub(super) fn size(&self) -> usize {
        self.size.load(Ordering::Acquire)
    }

    /// Takes a place among the login's connections.
    pub(super) fn reserve(&self, most: usize) -> bool {
        self.size
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
                (n < most).then_some(n + 1)
            })
            .is_ok()
    }

    pub(super) fn unreserve(&self) {
        self.size.fetch_sub(1, Ordering::AcqRel);
    }

    /// Gives the place back if others have one; of several at a time one keeps its own.
    pub(super) fn unreserve_unless_last(&self) -> bool {
        self.size
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
                (n > 1).then(|| n - 1)
            })
            .is_ok()
    }

    /// Counts an attempt to connect while it lives.
    pub(super) fn attempt(&self) -> Counted<'_> {
        Counted::new(&self.attempts)
    }

    /// Counts a connection while it lives.
    pub(super) fn connected(&self) -> Counted<'_> {
        Counted::new(&self.connected)
    }

    /// No connection could be made. If there is none and no other attempt, those who wait get the
    /// reason.
    pub(super) fn connect_failed(&self, error: &SharedConnectError) {
        metrics::counter!("rolegate_connect_failures_total").increment(1);
        tracing::warn!(user = %self.settings.login.user, %error, cause = ?error, "connect_failed");
        if self.connected.load(Ordering::Acquire) > 0 || self.attempts.load(Ordering::Acquire) > 0 {
            return;
        }
        for job in self.drain() {
            let _ = job
                .reply
                .send(Err(SessionError::Unavailable(Arc::clone(error))));
        }
    }

    pub(super) fn revoke(&self) {
        self.sender.close();
        self.revoked.cancel();
        for job in self.drain() {
            let _ = job.reply.send(Err(SessionError::Revoked));
        }
    }

    /// No new jobs; those queued are still run.
    pub(super) fn close(&self) {
        self.sender.close();
    }
}

/// Counts while it lives.
pub(super) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
