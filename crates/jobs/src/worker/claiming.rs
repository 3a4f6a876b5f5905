//! Claims jobs whenever there is room for some.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_channel::Sender;
use tokio::time::Instant;

use super::shares::Shares;
use super::waking::Bell;
use super::{Shared, former};
use crate::engine::EngineError;
use crate::job::{Attempt, Job};
use crate::metrics;

/// Rows of one claim, at most.
const BATCH: usize = 512;
/// Pause while somebody else is at work in all lanes, doubled up to the last.
const BUSY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(25));
/// Pause after an error, doubled up to the last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A claimed job on its way to a slot.
pub(super) type Ready = (Attempt, Job);

/// Until stopped. Dropping `jobs` at the end is what ends the slots.
pub(super) async fn run(shared: Arc<Shared>, bell: Bell, jobs: Sender<Ready>) {
    let mut queues = Shares::new(&shared.names, &shared.config.weights);
    let mut pause = PAUSE.0;
    let mut busy = BUSY.0;
    let mut sleep = Sleep::new(bell, shared.config.poll);
    while !shared.stop.is_cancelled() {
        let room = room(&shared);
        if room == 0 {
            shared.look.notified().await;
            continue;
        }
        if shared.open.is_doubtful() && !former::go_on_as_another(&shared).await {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shared.stop.cancelled() => {}
            }
            pause = (pause * 2).min(PAUSE.1);
            continue;
        }
        let started = Instant::now();
        let found = claim(&shared, &mut queues, room, &jobs).await;
        if !matches!(found, Ok(Found::Again(time)) if time <= BUSY.0) {
            busy = BUSY.0;
        }
        match found {
            Ok(Found::Jobs) => {
                metrics::claim_took(started.elapsed());
                sleep.found().await;
            }
            // Somebody else is at work there; he may take his time.
            Ok(Found::Again(time)) if time <= BUSY.0 => {
                tokio::time::sleep(busy).await;
                busy = (busy * 2).min(BUSY.1);
            }
            Ok(Found::Again(time)) => sleep.until_something(&shared, time).await,
            Ok(Found::Nothing) => {
                metrics::empty_claim();
                sleep.until_something(&shared, Duration::MAX).await;
            }
            Err(error) => {
                tracing::warn!(%error, cause = ?error, "claim_failed");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = shared.stop.cancelled() => {}
                }
                pause = (pause * 2).min(PAUSE.1);
                continue;
            }
        }
        pause = PAUSE.0;
    }
}

/// Going to sleep: say so, look once more, and then wait. Who gets jobs again and again is awake, and
/// takes it back, so that producers need not notify.
struct Sleep {
    bell: Bell,
    /// Longest sleep.
    poll: Duration,
    announced: bool,
    /// It could not be said for all queues, so many times in a row.
    unsaid: u32,
    found: u32,
}

/// Claims with jobs in a row after which a worker is awake.
const AWAKE: u32 = 4;
/// First sleep if nobody may be told to wake it.
const SHORT: Duration = Duration::from_millis(5);

impl Sleep {
    fn new(bell: Bell, poll: Duration) -> Self {
        Self {
            bell,
            poll,
            announced: false,
            unsaid: 0,
            found: 0,
        }
    }

    async fn found(&mut self) {
        self.found = self.found.saturating_add(1);
        self.unsaid = 0;
        if self.is_announced() && self.found >= AWAKE {
            self.bell.release().await;
            self.announced = false;
        }
    }

    /// Whether whoever enqueues will tell.
    fn is_announced(&self) -> bool {
        self.announced && self.bell.is_said()
    }

    /// But not for longer than `most`.
    async fn until_something(&mut self, shared: &Shared, most: Duration) {
        self.found = 0;
        if !self.is_announced() {
            self.announced = self.bell.announce().await;
            if self.announced {
                // Look once more: something may have come before it was said.
                self.unsaid = 0;
                return;
            }
            self.unsaid = self.unsaid.saturating_add(1);
        }
        let time = if self.is_announced() {
            self.poll
        } else {
            SHORT
                .saturating_mul(1 << self.unsaid.min(10))
                .min(self.poll)
        };
        tokio::select! {
            () = shared.look.notified() => {}
            () = tokio::time::sleep(time.min(most)) => {}
        }
    }
}

enum Found {
    Jobs,
    Nothing,
    /// Nothing yet, but after this time.
    Again(Duration),
}

/// How many to claim now. Not one at a time: a claim costs about as much as running a few jobs.
fn room(shared: &Shared) -> usize {
    let wanted = shared.pace.wanted();
    let unfinished = shared.unfinished.load(Ordering::Acquire);
    let room = wanted.saturating_sub(unfinished);
    let idle_slots = shared.config.concurrency.saturating_sub(unfinished);
    if idle_slots > 0 || room >= wanted / 4 {
        room.min(BATCH)
    } else {
        0
    }
}

async fn claim(
    shared: &Shared,
    owed: &mut Shares,
    room: usize,
    jobs: &Sender<Ready>,
) -> Result<Found, EngineError> {
    // Shared with other readers; see `Shared::registration`.
    let registration = shared.registration.read().await;
    let places = owed.order();
    let queues = places.iter().map(|place| registration.queues.get(*place));
    let order: Vec<i32> = queues.flatten().copied().collect();
    let most = i32::try_from(room).unwrap_or(i32::MAX);
    let claimed = shared
        .engine
        .claim(&registration, &order, &shared.names, most)
        .await;
    let claimed = match claimed {
        Err(EngineError::GivenUp) => {
            let worker = registration.worker;
            drop(registration);
            return if super::pulse::register_again(shared, worker).await {
                Ok(Found::Again(Duration::ZERO))
            } else {
                Err(EngineError::GivenUp)
            };
        }
        claimed => {
            let unsure = |error: &EngineError| error.may_have_worked();
            if claimed.as_ref().is_err_and(unsure) {
                // Said before a sign of life can say that nothing is open.
                shared.open.doubt(true);
            }
            claimed?
        }
    };
    if claimed.jobs.is_empty() {
        return Ok(claimed.again.map_or(Found::Nothing, Found::Again));
    }
    metrics::claimed(claimed.jobs.len());
    owed.took(claimed.jobs.iter().filter_map(|(_, job)| {
        let mut names = shared.names.iter();
        names.position(|name| *name == job.queue)
    }));
    for (attempt, _) in &claimed.jobs {
        shared
            .open
            .add((attempt.worker, attempt.claim, attempt.claimed_at));
    }
    drop(registration);
    shared
        .unfinished
        .fetch_add(claimed.jobs.len(), Ordering::AcqRel);
    for ready in claimed.jobs {
        // Slots end after this task.
        let _ = jobs.send(ready).await;
    }
    Ok(Found::Jobs)
}
