//! Finds out which of the running attempts have ended elsewhere, and tells them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Shared;

/// Between two questions: anybody may notify, and that must not keep the database busy.
const PAUSE: Duration = Duration::from_millis(20);
/// After one that failed.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Until stopped. Asks about attempts of which it was heard that they were cancelled and, because that
/// may have been missed, with each pulse about those that are older than one.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let pulse = shared.config.pulse;
    let mut every = interval(pulse);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let or_for = tokio::select! {
            () = shared.attempts.doubt() => None,
            _ = every.tick() => Some(pulse),
            () = stop.cancelled() => return,
        };
        let pause = ask(&shared, or_for).await;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn ask(shared: &Shared, or_for: Option<Duration>) -> Duration {
    let doubtful = shared.attempts.doubtful(or_for);
    if doubtful.is_empty() {
        return Duration::ZERO;
    }
    match shared.engine.ended(&doubtful).await {
        Ok(ended) => {
            for nth in ended {
                if let Some(attempt) = doubtful.get(nth) {
                    shared.attempts.end(*attempt);
                }
            }
            PAUSE
        }
        Err(error) => {
            tracing::warn!(%error, cause = ?error, "ended_attempts_unknown");
            shared.attempts.still_doubtful(&doubtful);
            AFTER_ERROR
        }
    }
}
