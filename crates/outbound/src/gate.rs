//! How many requests a host gets at once, and none while it is down.
//!
//! Who can't go is told when to come again. Places are given out one after another, as fast as the
//! host answers, so that a thousand who wait don't all come back at the same moment.

mod breaker;
mod queue;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use breaker::{Admitted, Breaker};
use queue::Queue;

/// How a host is treated.
#[derive(Debug, Clone, Copy)]
pub struct GateConfig {
    /// Requests at the same time.
    pub parallel: usize,
    /// How long one waits here for another to end. As many may wait as may run.
    pub wait: Duration,
    /// Failures in a row after which the host is taken to be down.
    pub failures: u32,
    /// How long it is left alone then, before one request tries. Doubled with each that fails.
    pub open: Duration,
    /// Up to this.
    pub longest: Duration,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            parallel: 16,
            wait: Duration::from_secs(1),
            failures: 5,
            open: Duration::from_secs(10),
            longest: Duration::from_mins(5),
        }
    }
}

/// Why one can't go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// As many run as may.
    Busy,
    /// The host is down.
    Down,
}

/// Not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Later {
    /// When to come again.
    pub after: Duration,
    /// Why.
    pub why: Why,
}

/// The gate of one host.
#[derive(Debug)]
pub struct Gate {
    config: GateConfig,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    breaker: Breaker,
    queue: Queue,
}

impl Gate {
    /// A gate that is open.
    pub fn new(config: GateConfig) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(config.parallel.max(1))),
            waiting: AtomicUsize::new(0),
            state: Mutex::new(State {
                breaker: Breaker::new(config.failures, config.open, config.longest),
                queue: Queue::new(),
            }),
            config,
        })
    }

    /// One may go, or come later.
    pub async fn enter(self: &Arc<Self>) -> Result<Pass, Later> {
        // Nobody waits for a place at a host that is down.
        let down = self.state().breaker.closed_until(Instant::now());
        if let Some(until) = down {
            return Err(self.later(until, Why::Down));
        }
        let Some(permit) = self.permit().await else {
            return Err(self.later(Instant::now(), Why::Busy));
        };
        let now = Instant::now();
        let admitted = self.state().breaker.admit(now);
        match admitted {
            Ok(admitted) => Ok(Pass {
                gate: Arc::clone(self),
                admitted,
                began: now,
                ended: false,
                _permit: permit,
            }),
            Err(until) => Err(self.later(until, Why::Down)),
        }
    }

    /// Whether the host is taken to be down.
    pub fn is_down(&self) -> bool {
        self.state().breaker.is_open()
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        // Slots of the worker are for other hosts, too.
        let waiting = Waiting::among(&self.waiting);
        if waiting.before >= self.config.parallel {
            return None;
        }
        let permit = Arc::clone(&self.permits).acquire_owned();
        let waited = tokio::time::timeout(self.config.wait, permit).await;
        waited.ok().and_then(Result::ok)
    }

    fn later(&self, from: Instant, why: Why) -> Later {
        let after = self
            .state()
            .queue
            .place(Instant::now(), from, self.config.parallel);
        Later { after, why }
    }

    /// A panic while it is held leaves numbers behind that are as good as others.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of those who wait, until it is dropped.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn among(count: &'a AtomicUsize) -> Self {
        let before = count.fetch_add(1, Ordering::AcqRel);
        Self { count, before }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One that may go. Say how it went: one that is dropped took too long for somebody, and has failed.
pub struct Pass {
    gate: Arc<Gate>,
    admitted: Admitted,
    began: Instant,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass")
            .field("admitted", &self.admitted)
            .finish_non_exhaustive()
    }
}

impl Pass {
    /// The host answered. Whether it is up again with that.
    pub fn succeeded(mut self) -> bool {
        self.end(true)
    }

    /// It did not, or said that it can't. Whether it is taken to be down from now on.
    pub fn failed(mut self) -> bool {
        self.end(false)
    }

    /// Nothing is known: the request was given up for reasons of our own.
    pub fn gave_up(mut self) {
        self.ended = true;
        self.gate.state().breaker.unknown(self.admitted);
    }

    fn end(&mut self, well: bool) -> bool {
        self.ended = true;
        let now = Instant::now();
        let mut state = self.gate.state();
        state.queue.took(now - self.began);
        let turned = state.breaker.ended(self.admitted, well, now);
        if turned && well {
            state.queue.begin_again(now);
        }
        turned
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.ended {
            self.end(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(parallel: usize) -> Arc<Gate> {
        Gate::new(GateConfig {
            parallel,
            wait: Duration::from_secs(2),
            failures: 3,
            open: Duration::from_secs(10),
            longest: Duration::from_secs(30),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_go_at_once_than_may_and_a_few_wait_for_them() {
        let gate = gate(2);
        let one = gate.enter().await.expect("the first");
        let two = gate.enter().await.expect("the second");
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let gate = Arc::clone(&gate);
                tokio::spawn(async move { gate.enter().await })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Two wait already: the next does not.
        let began = Instant::now();
        let later = gate.enter().await.expect_err("no place");
        assert_eq!((later.why, began.elapsed()), (Why::Busy, Duration::ZERO));
        // A place that is free is taken.
        one.succeeded();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(waiting.iter().filter(|task| task.is_finished()).count(), 1);
        // The other has waited for long enough.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut whys = Vec::new();
        for task in waiting {
            whys.push(
                task.await
                    .expect("it ends")
                    .map(drop)
                    .map_err(|later| later.why),
            );
        }
        whys.sort_by_key(Result::is_err);
        assert_eq!(whys, [Ok(()), Err(Why::Busy)]);
        drop(two);
        assert!(gate.enter().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_can_not_go_comes_again_one_after_another() {
        let gate = gate(1);
        let pass = gate.enter().await.expect("the first");
        tokio::time::sleep(Duration::from_secs(1)).await;
        pass.succeeded();
        let _pass = gate.enter().await.expect("the second");
        let _waits = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter().await }
        });
        tokio::task::yield_now().await;
        let mut places = Vec::new();
        for _ in 0..5 {
            places.push(gate.enter().await.expect_err("busy").after);
        }
        assert!(places.windows(2).all(|two| two[0] < two[1]), "{places:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_fails_is_left_alone_and_then_tried_by_one() {
        let gate = gate(4);
        for nth in 0..3 {
            assert!(!gate.is_down(), "{nth}");
            let turned = gate.enter().await.expect("it is up").failed();
            assert_eq!(turned, nth == 2);
        }
        assert!(gate.is_down());
        let later = gate.enter().await.expect_err("it is down");
        assert_eq!(later.why, Why::Down);
        assert!(later.after >= Duration::from_secs(10), "{later:?}");
        tokio::time::sleep(Duration::from_secs(10)).await;
        let probe = gate.enter().await.expect("one tries");
        assert_eq!(gate.enter().await.expect_err("one only").why, Why::Down);
        assert!(probe.failed(), "it is down again");
        // Twice as long.
        tokio::time::sleep(Duration::from_secs(19)).await;
        assert!(gate.enter().await.is_err());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(
            gate.enter().await.expect("one tries").succeeded(),
            "it is up"
        );
        assert!(!gate.is_down());
        let passes = [gate.enter().await, gate.enter().await, gate.enter().await];
        assert!(passes.iter().all(Result::is_ok));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_nobody_waits_for_has_failed_and_lets_the_next_try() {
        let gate = gate(4);
        for _ in 0..3 {
            drop(gate.enter().await.expect("it is up"));
        }
        assert!(gate.is_down());
        tokio::time::sleep(Duration::from_secs(10)).await;
        drop(gate.enter().await.expect("one tries"));
        tokio::time::sleep(Duration::from_secs(20)).await;
        // Given up by us: the next one tries, at once.
        gate.enter().await.expect("one tries").gave_up();
        assert!(gate.enter().await.expect("one tries").succeeded());
        // Nor does it count while the host is up.
        for _ in 0..9 {
            gate.enter().await.expect("it is up").gave_up();
        }
        assert!(!gate.is_down());
    }

    /// What was sent before the host was taken to be down says nothing of later.
    #[tokio::test(start_paused = true)]
    async fn answers_from_before_do_not_count() {
        let gate = gate(9);
        let (early, late) = (
            gate.enter().await.expect("up"),
            gate.enter().await.expect("up"),
        );
        for _ in 0..3 {
            gate.enter().await.expect("up").failed();
        }
        assert!(!early.succeeded());
        assert!(gate.is_down());
        tokio::time::sleep(Duration::from_secs(10)).await;
        let probe = gate.enter().await.expect("one tries");
        assert!(!late.failed());
        assert!(probe.succeeded());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_count_in_a_row() {
        let gate = gate(1);
        for _ in 0..4 {
            gate.enter().await.expect("up").failed();
            gate.enter().await.expect("up").failed();
            gate.enter().await.expect("up").succeeded();
        }
        assert!(!gate.is_down());
    }
}
