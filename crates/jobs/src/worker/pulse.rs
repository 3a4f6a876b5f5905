//! The sign of life, while the worker has jobs.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Shared, former};

/// Until stopped. Says nothing while nothing changes: an idle worker writes nothing.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut every = tokio::time::interval(shared.config.pulse);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = stop.cancelled() => return,
        }
        let pulse = async {
            say(&shared).await;
            former::tend(&shared).await;
        };
        tokio::select! {
            () = pulse => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn say(shared: &Shared) {
    let mut worker = shared.registration.read().await.worker;
    let alive = if let Some(first) = shared.open.first(worker) {
        shared.engine.alive(worker, Some(first)).await
    } else if shared.open.is_said_none() {
        return;
    } else {
        // No claim while this is said: its jobs would be nobody's.
        let registration = shared.registration.write().await;
        worker = registration.worker;
        if shared.open.first(worker).is_some() || shared.open.is_doubtful() {
            return;
        }
        let alive = shared.engine.alive(worker, None).await;
        if alive.is_ok() {
            shared.open.said_none();
        }
        alive
    };
    match alive {
        Ok(true) => {}
        Ok(false) => {
            register_again(shared, worker).await;
        }
        Err(error) => tracing::warn!(%error, cause = ?error, "pulse_failed"),
    }
}

/// This worker was silent for too long and its jobs run elsewhere: what it still runs is told to end,
/// and it goes on as another one. False if that can't be said to the database now.
pub(super) async fn register_again(shared: &Shared, given_up: i64) -> bool {
    let mut registration = shared.registration.write().await;
    // The pulse and a claim may both find out.
    if registration.worker != given_up {
        return true;
    }
    tracing::warn!("worker_given_up");
    shared.attempts.give_up(given_up);
    let config = &shared.config;
    match shared.engine.register(&config.name, &config.queues).await {
        Ok(new) => {
            shared.open.forget(given_up);
            shared.open.doubt(false);
            shared.attempts.go_on_as(new.worker);
            *registration = new;
            true
        }
        Err(error) => {
            tracing::warn!(%error, cause = ?error, "worker_not_registered");
            false
        }
    }
}
