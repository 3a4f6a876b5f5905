//! A handler runs as a task of its own, so that the bounds of its attempt hold whatever it does.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use super::attempts::Running;
use crate::handler::{Context, Handler};
use crate::job::Job;
use crate::outcome::Outcome;

/// How long a handler may take to end after its attempt was over elsewhere.
const GRACE: Duration = Duration::from_secs(3);
/// How long a handler that is dropped may take to reach an `.await`. What it gives back until then counts.
const DROP: Duration = Duration::from_secs(1);

/// A handler that was to be dropped and blocks its thread, which nobody can end but itself.
#[derive(Debug)]
pub(super) struct Blocked {
    task: AbortOnDropHandle<Outcome>,
    id: i64,
    kind: Arc<str>,
}

impl Blocked {
    /// Waits for it.
    pub(super) async fn ended(self) {
        // Its attempt is over, so what it gives back counts no more.
        let _ = self.task.await;
        tracing::info!(job = self.id, kind = %self.kind, "handler_unblocked");
    }
}

/// Runs one attempt, at most for `deadline`. A handler that goes on after that is left in `blocked`.
pub(super) async fn run(
    handler: Arc<dyn Handler>,
    job: Job,
    context: Context,
    running: &Running<'_>,
    deadline: Option<Duration>,
    blocked: &mut Option<Blocked>,
) -> Outcome {
    let (id, kind) = (job.id, Arc::clone(&job.kind));
    let run = async move { handler.run(job, &context).await };
    let mut task = AbortOnDropHandle::new(tokio::spawn(run));
    let or_else = tokio::select! {
        biased;
        ended = &mut task => return outcome_of(ended, Outcome::Released),
        () = sleep(deadline) => Outcome::retry("the attempt took longer than its deadline"),
        () = ignored(running) => Outcome::Released,
    };
    task.abort();
    // For one that computes, and looks whether it should go on.
    running.token().cancel();
    if let Ok(ended) = tokio::time::timeout(DROP, &mut task).await {
        return outcome_of(ended, or_else);
    }
    tracing::warn!(job = id, kind = %kind, "handler_blocks");
    *blocked = Some(Blocked { task, id, kind });
    or_else
}

/// A panic is a failure of this attempt and of nothing else.
fn outcome_of(ended: Result<Outcome, JoinError>, dropped: Outcome) -> Outcome {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(outcome) => outcome,
        Err(Ok(panic)) => Outcome::retry(format!("the handler panicked: {}", said(&*panic))),
        Err(Err(_)) => dropped,
    }
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// The attempt is over elsewhere, and its handler went on.
async fn ignored(running: &Running<'_>) {
    running.over().await;
    tokio::time::sleep(GRACE).await;
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}
