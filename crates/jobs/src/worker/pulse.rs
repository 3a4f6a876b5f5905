//! The sign of life, while the worker has jobs.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Shared;

/// Until stopped. Says nothing while nothing changes: an idle worker writes nothing.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut every = tokio::time::interval(shared.config.pulse);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = stop.cancelled() => return,
        }
        let alive = if let Some(first) = shared.open.first() {
            let worker = shared.registration.read().await.worker;
            shared.engine.alive(worker, Some(first)).await
        } else if shared.open.is_said_none() {
            continue;
        } else {
            // No claim while this is said: its jobs would be nobody's.
            let registration = shared.registration.write().await;
            if shared.open.first().is_some() {
                continue;
            }
            let alive = shared.engine.alive(registration.worker, None).await;
            if alive.is_ok() {
                shared.open.said_none();
            }
            alive
        };
        match alive {
            Ok(true) => {}
            Ok(false) => register_again(&shared).await,
            Err(error) => tracing::warn!(%error, cause = ?error, "pulse_failed"),
        }
    }
}

/// The worker was silent for too long and its jobs run elsewhere: what it still runs ends in
/// vain, and it goes on as another one.
pub(super) async fn register_again(shared: &Shared) {
    tracing::warn!("worker_given_up");
    let mut registration = shared.registration.write().await;
    let config = &shared.config;
    match shared.engine.register(&config.name, &config.queues).await {
        Ok(new) => {
            *registration = new;
            shared.open.forget();
        }
        Err(error) => tracing::warn!(%error, cause = ?error, "worker_not_registered"),
    }
}
