//! A slot: runs one job after another.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::Shared;
use super::claiming::Ready;
use crate::handler::{Context, Handler};
use crate::job::{Attempt, Job};
use crate::metrics;
use crate::outcome::Outcome;

/// When to ask again whether somebody handles a kind that nobody here does.
const NO_HANDLER: Duration = Duration::from_secs(30);

/// An attempt that ended.
pub(super) type End = (Attempt, Outcome);

/// Until there are no more jobs, and the claiming task is gone.
pub(super) async fn slot(shared: Arc<Shared>, jobs: Receiver<Ready>, ends: Sender<End>) {
    while let Ok((attempt, job)) = jobs.recv().await {
        let outcome = if shared.stop.is_cancelled() {
            Outcome::Released
        } else {
            run(&shared, attempt, job).await
        };
        shared.unfinished.fetch_sub(1, Ordering::AcqRel);
        shared.look.notify_one();
        if ends.send((attempt, outcome)).await.is_err() {
            // The process is stopping and did not wait for this one.
            return;
        }
    }
}

async fn run(shared: &Shared, attempt: Attempt, job: Job) -> Outcome {
    let kind = Arc::clone(&job.kind);
    let Some((label, handler)) = shared.handlers.of(&kind) else {
        // Some other worker may have one; this one's ignorance is no failure of the job.
        tracing::warn!(kind = %job.kind, job = job.id, "no_handler");
        return Outcome::Snooze(NO_HANDLER);
    };
    let started = Instant::now();
    let id = job.id;
    metrics::started(started_after(&job));
    let outcome = run_within_bounds(shared, handler, attempt, job).await;
    let took = started.elapsed();
    shared.pace.note(took);
    metrics::ended(label, outcome.as_str(), took);
    match &outcome {
        Outcome::Failed { error, .. } | Outcome::Retry { error, .. } => {
            tracing::info!(job = id, kind = %kind, outcome = outcome.as_str(), %error, "job_failed");
        }
        _ => tracing::debug!(job = id, kind = %kind, outcome = outcome.as_str(), "job_ended"),
    }
    outcome
}

async fn run_within_bounds(
    shared: &Shared,
    handler: &dyn Handler,
    attempt: Attempt,
    job: Job,
) -> Outcome {
    let deadline = job.options.deadline().or(shared.config.deadline);
    let context = Context {
        engine: shared.engine.clone(),
        principal: job.principal,
        attempt,
        cancel: shared.cancel.child_token(),
    };
    // A panic is a failure of this attempt and of nothing else.
    let run = AssertUnwindSafe(async { handler.run(job, &context).await }).catch_unwind();
    let ended = match deadline {
        Some(time) => tokio::time::timeout(time, run).await,
        None => Ok(run.await),
    };
    match ended {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Outcome::retry(format!("the handler panicked: {}", said(&*panic))),
        Err(_) => Outcome::retry("the attempt took longer than its deadline"),
    }
}

fn started_after(job: &Job) -> Duration {
    job.enqueued_at.elapsed().unwrap_or_default()
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}
