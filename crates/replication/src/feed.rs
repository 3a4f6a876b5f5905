//! What the rest of the process sees of the stream.

mod leading;
mod relayed;
mod ring;
mod subscription;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use crate::commit::Commit;
use crate::epoch::Epoch;
use crate::lsn::Lsn;
use crate::status::Status;
use ring::Ring;

pub(crate) use leading::Leading;
pub(crate) use relayed::{Leads, Relayed};
pub use subscription::Subscription;

/// How long somebody waits before the stream is asked to come to him. What is committed comes by itself,
/// and sooner.
const PATIENCE: Duration = Duration::from_millis(10);
/// And before it is asked once more.
const MORE_PATIENCE: Duration = Duration::from_secs(1);

/// What is kept for subscribers that are behind; whoever is further behind has lost continuity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedBounds {
    /// Commits.
    pub commits: usize,
    /// Bytes, about.
    pub bytes: usize,
}

impl Default for FeedBounds {
    fn default() -> Self {
        Self {
            commits: 4096,
            bytes: 16 * 1024 * 1024,
        }
    }
}

/// What happens in the stream.
#[derive(Debug, Clone)]
pub enum Event {
    /// The next commit. They come in the order of [`Commit::commit_lsn`], each once.
    Commit(Arc<Commit>),
    /// Everything that was committed up to here has been told.
    Passed(Lsn),
    /// Whatever was known is void: something was not told.
    Lost(Lost),
}

/// A gap, and what comes after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The epoch from here on.
    pub epoch: Epoch,
    /// What was committed up to here is not told any more; everything after it is.
    pub at: Lsn,
    /// How it came about.
    pub why: Why,
}

/// How a gap came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// This process begins to follow, or others followed meanwhile.
    Began,
    /// A new epoch, while this process followed.
    NewEpoch,
    /// The subscriber was too slow.
    Lagged,
}

/// This process does not follow the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this process does not follow the change stream")]
pub struct NotFollowing;

/// The stream of one database in this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    /// Goes up with every change of the ring.
    version: watch::Sender<u64>,
    /// Somebody waits for what does not come by itself.
    asked: Notify,
    /// The furthest position that was asked for.
    wanted: AtomicU64,
    /// Whether this process reads the stream itself.
    leads: watch::Sender<bool>,
}

impl Default for Feed {
    fn default() -> Self {
        Self::new(FeedBounds::default())
    }
}

impl Feed {
    /// A feed that nobody feeds yet.
    pub fn new(bounds: FeedBounds) -> Self {
        Self(Arc::new(Shared {
            ring: Mutex::new(Ring::new(bounds)),
            version: watch::Sender::new(0),
            asked: Notify::new(),
            wanted: AtomicU64::new(0),
            leads: watch::Sender::new(false),
        }))
    }

    /// Everything that happens from now on. Nobody waits for a subscriber: one that is too slow is told
    /// that it lost continuity.
    pub fn subscribe(&self) -> Subscription {
        Subscription::new(self.clone(), &self.ring())
    }

    /// From now on, and what holds now: epoch and position. `None` while this process does not follow.
    pub(crate) fn begin_here(&self) -> Option<(Subscription, Epoch, Lsn)> {
        let ring = self.ring();
        let epoch = ring.current()?;
        Some((Subscription::new(self.clone(), &ring), epoch, ring.passed()))
    }

    /// From a place on that somebody was at before. `None` if nobody can have been there.
    pub(crate) fn subscribe_at(&self, place: u64) -> Option<Subscription> {
        let ring = self.ring();
        (place <= ring.end()).then(|| Subscription::at(self.clone(), place))
    }

    /// The epoch; `None` while this process does not follow: then nothing it knows may be called current.
    pub fn epoch(&self) -> Option<Epoch> {
        self.ring().current()
    }

    /// Up to where everything was told; `None` while this process does not follow.
    pub fn passed(&self) -> Option<Lsn> {
        let ring = self.ring();
        ring.current().map(|_| ring.passed())
    }

    /// How this process stands to the stream.
    pub fn status(&self) -> Status {
        self.ring().status()
    }

    /// Bytes that the server had written and this process had not come to when it looked last, some seconds ago;
    /// `None` while it does not follow.
    pub fn lag(&self) -> Option<u64> {
        let ring = self.ring();
        ring.current().map(|_| ring.lag())
    }

    pub(crate) fn note_lag(&self, bytes: u64) {
        self.ring().set_lag(bytes);
    }

    /// Waits until everything that was committed up to `lsn` has been told, also if nothing is committed.
    /// The caller bounds the time.
    ///
    /// Something that the server has not flushed, such as what a rolled-back transaction wrote, may stand
    /// before `lsn`. Whoever waits for it has a message written behind it; nobody else does.
    pub async fn wait_passed(&self, lsn: Lsn) -> Result<(), NotFollowing> {
        let mut version = self.0.version.subscribe();
        let mut ask_at = Instant::now() + PATIENCE;
        loop {
            version.mark_unchanged();
            {
                let ring = self.ring();
                ring.current().ok_or(NotFollowing)?;
                if ring.passed() >= lsn {
                    return Ok(());
                }
            }
            tokio::select! {
                changed = version.changed() => changed.map_err(|_| NotFollowing)?,
                () = sleep_until(ask_at) => {
                    self.ask(lsn);
                    ask_at = Instant::now() + MORE_PATIENCE;
                }
            }
        }
    }

    /// Returns when the stream has come to `lsn`, and has nobody do anything for that.
    pub(crate) async fn comes_to(&self, lsn: Lsn) {
        self.until(|ring| ring.passed() >= lsn).await;
    }

    /// Returns when this process reads and follows.
    pub(crate) async fn is_read(&self) {
        self.until(|ring| ring.own_status() == Status::Following)
            .await;
    }

    async fn until(&self, holds: impl Fn(&Ring) -> bool) {
        let mut version = self.0.version.subscribe();
        loop {
            version.mark_unchanged();
            if holds(&self.ring()) {
                return;
            }
            // The sender lives as long as this does.
            let _ = version.changed().await;
        }
    }

    /// Has the stream come up to `lsn`, also if nothing is committed.
    pub(crate) fn ask(&self, lsn: Lsn) {
        self.0.wanted.fetch_max(lsn.0, Ordering::AcqRel);
        self.0.asked.notify_one();
    }

    /// Returns when somebody waits for what does not come by itself: the furthest position that anybody waits for.
    pub(crate) async fn asked(&self) -> Lsn {
        self.0.asked.notified().await;
        Lsn(self.0.wanted.swap(0, Ordering::AcqRel))
    }

    /// Goes on where it was. This and what follows is for whoever feeds it.
    pub fn follows(&self) {
        self.change(|ring| ring.set_status(Status::Following));
    }

    /// Begins anew: nothing that was told before holds.
    pub fn begins(&self, epoch: &Epoch, at: Lsn, why: Why) {
        let lost = Lost {
            epoch: epoch.clone(),
            at,
            why,
        };
        self.change(|ring| ring.lose(lost));
    }

    /// The next commit.
    pub fn tell(&self, commit: Commit) {
        self.change(|ring| ring.push(commit));
    }

    /// Everything up to here has been told.
    pub fn pass(&self, lsn: Lsn) {
        self.0.version.send_if_modified(|version| {
            let passed = self.ring().pass(lsn);
            *version += u64::from(passed);
            passed
        });
    }

    /// How the reader of this process stands, whatever comes through a relay.
    pub(crate) fn own_status(&self) -> Status {
        self.ring().own_status()
    }

    pub(crate) fn stand(&self, status: Status) {
        if self.own_status() != status {
            self.change(|ring| ring.set_status(status));
        }
    }

    /// Epoch and position of what this process followed last, whether it still does or not.
    pub(crate) fn last(&self) -> Option<(Epoch, Lsn)> {
        self.ring().last()
    }

    /// Up to where everything was told, and where the last commit that was told ends; whether this process
    /// still follows or not.
    pub(crate) fn to_store(&self) -> Option<(Lsn, Lsn)> {
        let ring = self.ring();
        ring.last().map(|(_, passed)| (passed, ring.told()))
    }

    fn change(&self, what: impl FnOnce(&mut Ring)) {
        self.0.version.send_modify(|version| {
            what(&mut self.ring());
            *version += 1;
        });
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing in there can be half done.
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
