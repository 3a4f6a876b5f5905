//! The attempts that run here, so that each can be told when it is over elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::job::Attempt;

/// What was heard of attempts that don't run here, at most: everybody hears of all workers'. Beyond
/// it the oldest claims are forgotten, and a handler begins in vain.
const HEARD: usize = 4096;

/// A claim and a position in it.
type Place = (i64, i16);

/// What runs, and what was heard of it. Anybody may notify: what was heard is only a doubt, until the
/// database has been asked.
#[derive(Debug)]
pub(super) struct Attempts {
    inner: Mutex<Inner>,
    /// There is a doubt about one that runs.
    doubt: Notify,
}

#[derive(Debug)]
struct Inner {
    /// Numbers of this worker. Jobs of any other are not ours any more.
    workers: BTreeSet<i64>,
    running: BTreeMap<Place, Arc<State>>,
    doubtful: BTreeSet<Place>,
    /// Of attempts that don't run (yet).
    heard: BTreeSet<Place>,
}

#[derive(Debug)]
struct State {
    attempt: Attempt,
    begun: Instant,
    cancel: CancellationToken,
    /// It ended elsewhere; else the process stops.
    over: AtomicBool,
}

impl State {
    fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.cancel.cancel();
    }
}

/// An attempt that runs, until this is dropped.
#[derive(Debug)]
pub(super) struct Running<'a> {
    attempts: &'a Attempts,
    state: Arc<State>,
}

impl Attempts {
    pub(super) fn new(worker: i64) -> Self {
        Self {
            inner: Mutex::new(Inner {
                workers: BTreeSet::from([worker]),
                running: BTreeMap::new(),
                doubtful: BTreeSet::new(),
                heard: BTreeSet::new(),
            }),
            doubt: Notify::new(),
        }
    }

    /// Begins one. `None`: its worker was given up.
    pub(super) fn begin(&self, attempt: Attempt, stop: &CancellationToken) -> Option<Running<'_>> {
        let mut inner = self.lock();
        if !inner.workers.contains(&attempt.worker) {
            return None;
        }
        let state = Arc::new(State {
            attempt,
            begun: Instant::now(),
            cancel: stop.child_token(),
            over: AtomicBool::new(false),
        });
        inner.running.insert(attempt.place(), Arc::clone(&state));
        Some(Running {
            attempts: self,
            state,
        })
    }

    /// Somebody says that this attempt was cancelled.
    pub(super) fn hear(&self, claim: i64, ordinal: i16) {
        let place = (claim, ordinal);
        let mut inner = self.lock();
        if inner.running.contains_key(&place) {
            inner.doubtful.insert(place);
            self.doubt.notify_one();
        } else {
            inner.heard.insert(place);
            if inner.heard.len() > HEARD {
                inner.heard.pop_first();
            }
        }
    }

    /// Whether that was heard of one that did not run then.
    pub(super) fn was_heard_of(&self, place: Place) -> bool {
        let mut inner = self.lock();
        !inner.heard.is_empty() && inner.heard.remove(&place)
    }

    /// Something may have been said that nobody heard.
    pub(super) fn doubt_all(&self) {
        let mut inner = self.lock();
        inner.doubtful = inner.running.keys().copied().collect();
        if !inner.doubtful.is_empty() {
            self.doubt.notify_one();
        }
    }

    /// Waits for a doubt about one that runs.
    pub(super) fn doubt(&self) -> impl Future<Output = ()> + '_ {
        self.doubt.notified()
    }

    /// Those to ask the database about: what was heard of, and what runs for so long.
    pub(super) fn doubtful(&self, or_for: Option<Duration>) -> Vec<Attempt> {
        let mut inner = self.lock();
        let doubtful = std::mem::take(&mut inner.doubtful);
        let long = |state: &State| or_for.is_some_and(|time| state.begun.elapsed() >= time);
        inner
            .running
            .values()
            .filter(|state| !state.over.load(Ordering::Acquire))
            .filter(|state| doubtful.contains(&state.attempt.place()) || long(state))
            .map(|state| state.attempt)
            .collect()
    }

    /// It was not to be found out now.
    pub(super) fn still_doubtful(&self, attempts: &[Attempt]) {
        let places = attempts.iter().map(Attempt::place);
        self.lock().doubtful.extend(places);
        self.doubt.notify_one();
    }

    /// It has ended elsewhere.
    pub(super) fn end(&self, attempt: Attempt) {
        if let Some(state) = self.lock().running.get(&attempt.place())
            && state.attempt == attempt
        {
            state.end();
        }
    }

    /// The worker was given up under this number: whatever it has as that one runs elsewhere.
    pub(super) fn give_up(&self, worker: i64) {
        let mut inner = self.lock();
        inner.workers.remove(&worker);
        for state in inner.running.values() {
            if state.attempt.worker == worker {
                state.end();
            }
        }
    }

    /// It goes on under another number.
    pub(super) fn go_on_as(&self, worker: i64) {
        self.lock().workers.insert(worker);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running<'_> {
    /// What its handler listens to.
    pub(super) fn token(&self) -> CancellationToken {
        self.state.cancel.clone()
    }

    /// Whether it ended elsewhere.
    pub(super) fn is_over(&self) -> bool {
        self.state.over.load(Ordering::Acquire)
    }

    /// Waits for that.
    pub(super) async fn over(&self) {
        self.state.cancel.cancelled().await;
        if !self.is_over() {
            // The process stops, which has a bound of its own.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let place = self.state.attempt.place();
        let mut inner = self.attempts.lock();
        // After a crash of the server another attempt may have the same place.
        if inner
            .running
            .get(&place)
            .is_some_and(|state| Arc::ptr_eq(state, &self.state))
        {
            inner.running.remove(&place);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn attempt(worker: i64, claim: i64, ordinal: i16) -> Attempt {
        Attempt {
            worker,
            claim,
            claimed_at: SystemTime::UNIX_EPOCH,
            ordinal,
            flags: 0,
        }
    }

    #[test]
    fn only_the_attempt_that_ended_is_over() {
        let stop = CancellationToken::new();
        let attempts = Attempts::new(1);
        let first = attempts.begin(attempt(1, 7, 1), &stop).unwrap();
        let second = attempts.begin(attempt(1, 7, 2), &stop).unwrap();
        attempts.hear(7, 2);
        assert!(!second.is_over(), "it is only a doubt");
        assert_eq!(attempts.doubtful(None), [attempt(1, 7, 2)]);
        assert_eq!(attempts.doubtful(None), []);
        assert_eq!(attempts.doubtful(Some(Duration::ZERO)).len(), 2);
        attempts.end(attempt(1, 7, 2));
        assert!(!first.is_over() && !first.token().is_cancelled());
        assert!(second.is_over() && second.token().is_cancelled());
        stop.cancel();
        assert!(first.token().is_cancelled() && !first.is_over());
    }

    #[test]
    fn what_is_heard_of_others_is_bounded() {
        let attempts = Attempts::new(1);
        attempts.hear(7, 1);
        assert!(attempts.was_heard_of((7, 1)));
        assert!(!attempts.was_heard_of((7, 1)));
        for claim in 0..=i64::try_from(HEARD).unwrap() {
            attempts.hear(claim, 1);
        }
        assert!(!attempts.was_heard_of((0, 1)), "the oldest");
        assert!(attempts.was_heard_of((1, 1)));
    }

    #[test]
    fn nothing_of_a_worker_that_was_given_up_goes_on() {
        let stop = CancellationToken::new();
        let attempts = Attempts::new(1);
        let running = attempts.begin(attempt(1, 7, 1), &stop).unwrap();
        let other = attempts.begin(attempt(1, 8, 1), &stop).unwrap();
        attempts.go_on_as(2);
        let newer = attempts.begin(attempt(2, 9, 1), &stop).unwrap();
        assert!(!running.is_over() && !other.is_over());
        attempts.give_up(1);
        assert!(running.is_over() && other.is_over() && !newer.is_over());
        assert!(attempts.begin(attempt(1, 7, 2), &stop).is_none());
        // The same place after a crash of the server.
        let again = attempts.begin(attempt(2, 7, 1), &stop).unwrap();
        attempts.end(attempt(1, 7, 1));
        assert!(!again.is_over());
        drop(running);
        attempts.end(attempt(2, 7, 1));
        assert!(again.is_over());
    }
}
