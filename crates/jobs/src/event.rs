//! What a process is told about the attempts that it runs.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use crate::job::{Job, JobId};
use crate::outcome::Outcome;

/// Something that happened to an attempt here.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// What.
    pub what: What,
    /// Of which job.
    pub job: JobId,
    /// Its kind.
    pub kind: Arc<str>,
    /// Its queue.
    pub queue: Arc<str>,
    /// Which attempt, from 1.
    pub attempt: u16,
    /// How long the handler ran.
    pub took: Duration,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// Its handler begins. The attempt before was lost with its worker.
    Rescued,
    /// Its handler begins.
    Started,
    /// It is done.
    Completed,
    /// It failed, and is tried again.
    Retried,
    /// It failed, and that was the last attempt.
    Exhausted,
    /// It failed for good.
    Failed,
    /// It runs later, or elsewhere.
    PutBack,
    /// It waits for its callback.
    Waiting,
    /// Its handler said that nobody wants it any more.
    Cancelled,
    /// It was over elsewhere: cancelled from outside, or given to another worker.
    Stopped,
}

impl What {
    pub(crate) fn of(outcome: &Outcome, last: bool) -> Self {
        match outcome {
            Outcome::Completed(_) | Outcome::Committed => Self::Completed,
            Outcome::Retry { .. } if last => Self::Exhausted,
            Outcome::Retry { .. } => Self::Retried,
            Outcome::Failed { .. } => Self::Failed,
            Outcome::Snooze(_) | Outcome::Released => Self::PutBack,
            Outcome::Wait => Self::Waiting,
            Outcome::Cancelled { .. } => Self::Cancelled,
            Outcome::Followed { outcome, .. } => Self::of(outcome, last),
        }
    }
}

/// Who wants to know.
pub(crate) type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

impl Event {
    pub(crate) fn started(job: &Job) -> Self {
        let lost = job.options.errors.last().is_some_and(|last| {
            // As the database writes it.
            let lost =
                |error: &serde_json::value::RawValue| error.get() == r#""the worker was lost""#;
            last.attempt + 1 == job.attempt && last.error.as_deref().is_some_and(lost)
        });
        Self {
            what: if lost { What::Rescued } else { What::Started },
            job: job.id,
            kind: Arc::clone(&job.kind),
            queue: Arc::clone(&job.queue),
            attempt: job.attempt,
            took: Duration::ZERO,
        }
    }

    /// A listener that panics harms nobody.
    pub(crate) fn tell(&self, listeners: &[Listener]) {
        for listener in listeners {
            let told = std::panic::catch_unwind(AssertUnwindSafe(|| listener(self)));
            if told.is_err() {
                tracing::warn!(job = self.job, "event_listener_panicked");
            }
        }
    }
}
