//! Numbers that the worker had before.
//!
//! When a connection breaks while a claim is under way, the claim may be committed all the same, and
//! nobody knows its jobs. It may even be made later, when the server comes to it. So the worker goes on
//! under another number. Under the former one nothing new is claimed; what was claimed and is not known
//! is given back, and when the jobs that are known have ended, the number is, too.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Shared;

/// Those that have not ended.
#[derive(Debug, Default)]
pub(super) struct Former(Mutex<Vec<i64>>);

impl Former {
    /// All of them.
    pub(super) fn all(&self) -> Vec<i64> {
        self.lock().clone()
    }

    fn add(&self, worker: i64) {
        self.lock().push(worker);
    }

    fn remove(&self, worker: i64) {
        self.lock().retain(|other| *other != worker);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// There may be a claim that is not known: goes on under another number. False if that can't be said to
/// the database now.
pub(super) async fn go_on_as_another(shared: &Shared) -> bool {
    let mut registration = shared.registration.write().await;
    let config = &shared.config;
    match shared.engine.register(&config.name, &config.queues).await {
        Ok(new) => {
            shared.former.add(registration.worker);
            shared.attempts.go_on_as(new.worker);
            *registration = new;
            shared.open.doubt(false);
        }
        Err(error) => {
            tracing::warn!(%error, cause = ?error, "worker_not_registered");
            return false;
        }
    }
    drop(registration);
    tend(shared).await;
    true
}

/// Says what is to be said of former numbers, now and with each pulse.
pub(super) async fn tend(shared: &Shared) {
    for worker in shared.former.all() {
        if let Err(error) = tend_one(shared, worker).await {
            tracing::info!(%error, cause = ?error, worker, "former_worker_not_ended");
        }
    }
}

async fn tend_one(shared: &Shared, worker: i64) -> Result<(), crate::engine::EngineError> {
    let first = shared.open.first(worker);
    let (claims, at) = shared.open.known(worker);
    let given_back = shared.engine.give_back(worker, &claims, &at).await?;
    if given_back > 0 {
        tracing::warn!(jobs = given_back, "unknown_claims_given_back");
    }
    if first.is_none() {
        shared.engine.unregister(worker).await?;
        shared.former.remove(worker);
    } else if !shared.engine.alive(worker, first).await? {
        shared.attempts.give_up(worker);
        shared.open.forget(worker);
        shared.former.remove(worker);
    }
    Ok(())
}
