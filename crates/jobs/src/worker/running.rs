//! A slot: runs one job after another.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use tokio::time::Instant;

use super::Shared;
use super::attempts::Running;
use super::bounds::{self, Blocked};
use super::claiming::Ready;
use crate::event::{Event, What};
use crate::handler::Context;
use crate::job::{Attempt, Job, NOTED};
use crate::metrics;
use crate::notes::Note;
use crate::outcome::Outcome;

/// When to ask again whether somebody handles a kind that nobody here does.
const NO_HANDLER: Duration = Duration::from_secs(30);

/// When to try again to read where an attempt is to go on.
const NO_CHECKPOINT: Duration = Duration::from_secs(5);

/// An attempt that ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) attempt: Attempt,
    pub(super) outcome: Outcome,
    /// It had ended elsewhere before.
    pub(super) over: bool,
    /// What its handler noted last.
    pub(super) note: Option<Note>,
}

impl End {
    /// Of one whose handler did not run.
    fn unbegun(attempt: Attempt, over: bool) -> Self {
        Self {
            attempt,
            outcome: Outcome::Released,
            over,
            note: None,
        }
    }
}

/// Until there are no more jobs, and the claiming task is gone.
pub(super) async fn slot(shared: Arc<Shared>, jobs: Receiver<Ready>, ends: Sender<End>) {
    while let Ok((attempt, job)) = jobs.recv().await {
        let mut blocked = None;
        let end = if shared.stop.is_cancelled() {
            End::unbegun(attempt, false)
        } else {
            run(&shared, attempt, job, &mut blocked).await
        };
        if blocked.is_none() {
            is_free(&shared);
        }
        if ends.send(end).await.is_err() {
            // The process is stopping and did not wait for this one.
            return;
        }
        if let Some(blocked) = blocked {
            tokio::select! {
                () = blocked.ended() => {}
                // Its attempt is over already.
                () = shared.stop.cancelled() => {}
            }
            // What it still said is of no use to anybody.
            shared.notes.end(attempt);
            is_free(&shared);
        }
    }
}

/// One more job may be claimed.
fn is_free(shared: &Shared) {
    shared.unfinished.fetch_sub(1, Ordering::AcqRel);
    shared.look.notify_one();
}

async fn run(shared: &Shared, attempt: Attempt, job: Job, blocked: &mut Option<Blocked>) -> End {
    let running = match shared.attempts.begin(attempt, &shared.cancel) {
        Some(running) if !was_cancelled(shared, attempt).await => running,
        _ => return End::unbegun(attempt, true),
    };
    let outcome = handle(shared, attempt, job, &running, blocked).await;
    let left = shared.notes.end(attempt);
    let mut attempt = attempt;
    if left.noted {
        attempt.flags |= NOTED;
    }
    End {
        attempt,
        // Nobody will read the notes of a job that has ended.
        note: left.unsaved.filter(|_| outcome.is_back()),
        outcome,
        over: running.is_over(),
    }
}

/// Before it came to its turn.
async fn was_cancelled(shared: &Shared, attempt: Attempt) -> bool {
    shared.attempts.was_heard_of(attempt.place())
        && shared
            .engine
            .ended(&[attempt])
            .await
            .is_ok_and(|ended| !ended.is_empty())
}

async fn handle(
    shared: &Shared,
    attempt: Attempt,
    mut job: Job,
    running: &Running<'_>,
    blocked: &mut Option<Blocked>,
) -> Outcome {
    let kind = Arc::clone(&job.kind);
    let Some((label, handler)) = shared.handlers.of(&kind) else {
        // Some other worker may have one; this one's ignorance is no failure of the job.
        tracing::warn!(kind = %job.kind, job = job.id, "no_handler");
        return Outcome::Snooze(NO_HANDLER);
    };
    if attempt.flags & NOTED != 0 {
        match shared.engine.checkpoint(attempt).await {
            Ok(checkpoint) => job.checkpoint = checkpoint,
            Err(error) => {
                // It is not to begin from the start because of that.
                tracing::warn!(%error, cause = ?error, job = job.id, "checkpoint_unknown");
                return Outcome::Snooze(NO_CHECKPOINT);
            }
        }
    }
    let started = Instant::now();
    let id = job.id;
    let trace = job.options.traceparent().map(str::to_owned);
    let trace = trace.as_deref();
    let last = job.attempt >= job.max_attempts;
    let mut event = Event::started(&job);
    shared.handlers.tell(&event);
    metrics::started(started_after(&job));
    let deadline = job.options.deadline().or(shared.config.deadline);
    let context = Context {
        notes: Arc::clone(&shared.notes),
        engine: shared.engine.clone(),
        principal: job.principal,
        attempt,
        cancel: running.token(),
    };
    let _watched = shared.watch.handler();
    let outcome = bounds::run(handler, job, context, running, deadline, blocked).await;
    let took = started.elapsed();
    shared.pace.note(took);
    event.took = took;
    event.what = if running.is_over() {
        What::Stopped
    } else {
        What::of(&outcome, last)
    };
    shared.handlers.tell(&event);
    if running.is_over() {
        metrics::ended(label, "stopped", took);
        tracing::info!(job = id, kind = %kind, trace, "job_stopped");
        return outcome;
    }
    metrics::ended(label, outcome.as_str(), took);
    match outcome.alone() {
        Outcome::Failed { error, .. } | Outcome::Retry { error, .. } => {
            let outcome = outcome.as_str();
            tracing::info!(job = id, kind = %kind, outcome, trace, %error, "job_failed");
        }
        _ => {
            let outcome = outcome.as_str();
            tracing::debug!(job = id, kind = %kind, outcome, trace, "job_ended");
        }
    }
    outcome
}

fn started_after(job: &Job) -> Duration {
    job.enqueued_at.elapsed().unwrap_or_default()
}
