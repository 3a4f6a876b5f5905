//! Keys that are fetched when they are needed, and kept.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use rolegate_model::Clock;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::task::TaskTracker;

use super::fetch::{FetchError, FetchLimits, Fetcher, JwksUrlError};
use super::{FRESH_FOR, MIN_INTERVAL, MIN_INTERVAL_WITHOUT_KEYS, USABLE_FOR, document};
use crate::jwt::JwtError;
use crate::jwt::key_set::KeySet;

/// The keys of one issuer.
#[derive(Debug)]
pub(crate) struct JwksSource {
    /// The issuer's name, for the log.
    name: String,
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
    held: ArcSwapOption<Held>,
    /// Held while fetching; the time of the last attempt.
    attempt: Arc<Mutex<Option<Timestamp>>>,
    tasks: TaskTracker,
}

/// A set, and where it came from.
#[derive(Debug)]
struct Held {
    set: Arc<KeySet>,
    /// The document, to see whether it changed.
    body: Vec<u8>,
    fetched_at: Timestamp,
}

impl JwksSource {
    pub(crate) fn new(
        name: &str,
        url: &str,
        limits: FetchLimits,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
    ) -> Result<Arc<Self>, JwksUrlError> {
        Ok(Arc::new(Self {
            name: name.to_owned(),
            fetcher: Fetcher::new(url, limits)?,
            clock,
            held: ArcSwapOption::empty(),
            attempt: Arc::default(),
            tasks,
        }))
    }

    /// The generation of the keys that may be used now.
    pub(crate) fn generation(self: &Arc<Self>) -> Option<u64> {
        let held = self.usable()?;
        self.renew_if_old(&held);
        Some(held.set.generation)
    }

    /// The keys, among them the one called `kid` if the issuer has it.
    pub(crate) async fn keys(self: &Arc<Self>, kid: Option<&str>) -> Result<Arc<KeySet>, JwtError> {
        if let Some(held) = self.usable()
            && !matches!(held.set.select(kid), Err(JwtError::KidUnknown))
        {
            self.renew_if_old(&held);
            return Ok(Arc::clone(&held.set));
        }
        let last_attempt = Arc::clone(&self.attempt).lock_owned().await;
        if self.may_ask(*last_attempt) {
            // The fetch is a task of its own: a caller who goes away would otherwise take it
            // along, and with it the one attempt of these 30 seconds.
            let fetch = self.tasks.spawn(Arc::clone(self).fetch(last_attempt));
            let _ = fetch.await;
        } else {
            drop(last_attempt);
        }
        self.usable()
            .map(|held| Arc::clone(&held.set))
            .ok_or(JwtError::KeysUnavailable)
    }

    fn usable(&self) -> Option<Arc<Held>> {
        let held = self.held.load_full()?;
        (self.clock.now().duration_since(held.fetched_at) < USABLE_FOR).then_some(held)
    }

    fn renew_if_old(self: &Arc<Self>, held: &Held) {
        if self.clock.now().duration_since(held.fetched_at) < FRESH_FOR {
            return;
        }
        // Somebody who fetches already holds the lock; then there is nothing to do.
        if let Ok(last_attempt) = Arc::clone(&self.attempt).try_lock_owned()
            && self.may_ask(*last_attempt)
        {
            self.tasks.spawn(Arc::clone(self).fetch(last_attempt));
        }
    }

    fn may_ask(&self, last_attempt: Option<Timestamp>) -> bool {
        let interval = if self.usable().is_some() {
            MIN_INTERVAL
        } else {
            MIN_INTERVAL_WITHOUT_KEYS
        };
        last_attempt.is_none_or(|at| {
            let since = self.clock.now().duration_since(at);
            // Negative: the clock was set back, and the last attempt says nothing.
            since.is_negative() || since >= interval
        })
    }

    async fn fetch(self: Arc<Self>, mut last_attempt: OwnedMutexGuard<Option<Timestamp>>) {
        *last_attempt = Some(self.clock.now());
        if let Err(error) = self.fetch_once().await {
            tracing::warn!(
                event = "jwks_fetch_failed",
                issuer = self.name,
                error = &error as &dyn std::error::Error,
                "the issuer's keys could not be fetched"
            );
        }
    }

    async fn fetch_once(&self) -> Result<(), FetchError> {
        let body = self.fetcher.get().await?;
        let now = self.clock.now();
        let previous = self.held.load_full();
        let set = match &previous {
            Some(held) if held.body == body => Arc::clone(&held.set),
            _ => {
                let (keys, skipped) = document::parse(&body).map_err(FetchError::Json)?;
                for skipped in &skipped {
                    tracing::warn!(
                        event = "jwks_key_skipped",
                        issuer = self.name,
                        index = skipped.index,
                        kid = skipped.kid,
                        reason = %skipped.reason,
                        "a key of the issuer is not used"
                    );
                }
                if keys.is_empty() {
                    return Err(FetchError::NoUsableKey);
                }
                let generation = previous.map_or(0, |held| held.set.generation) + 1;
                Arc::new(KeySet { keys, generation })
            }
        };
        self.held.store(Some(Arc::new(Held {
            set,
            body,
            fetched_at: now,
        })));
        Ok(())
    }
}
