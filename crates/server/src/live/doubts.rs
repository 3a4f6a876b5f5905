//! Transactions of which nobody will tell whether they have committed.
//!
//! After a gap, commits before it are not told any more. One of them may be in the log and not be visible yet: it waits
//! for a standby, for as long as that takes. Nothing announces when it becomes visible, so whatever was open when somebody
//! looked first after the gap is looked at until it has ended.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rolegate_query::Snapshot;
use rolegate_replication::Xid;
use tokio::sync::Notify;

/// What is in doubt.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    inner: Mutex<Inner>,
    arisen: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// There was a gap, and nobody has looked since.
    gap: bool,
    /// Had begun when somebody looked, and not ended.
    open: BTreeSet<u64>,
}

/// Somebody looks: what he sees is from now or later.
#[derive(Debug)]
pub(super) struct Look<'d> {
    doubts: &'d Doubts,
    /// The first one after a gap.
    first: bool,
}

impl Doubts {
    /// Something was not told.
    pub(super) fn gap(&self) {
        self.inner().gap = true;
        self.arisen.notify_one();
    }

    /// The stream has told it: groups wait for it by themselves.
    pub(super) fn told(&self, xid: Xid) {
        self.inner().open.remove(&xid.0);
    }

    /// Returns when there may be something.
    pub(super) async fn arisen(&self) {
        self.arisen.notified().await;
    }

    pub(super) fn are_there(&self) -> bool {
        let inner = self.inner();
        inner.gap || !inner.open.is_empty()
    }

    pub(super) fn look(&self) -> Look<'_> {
        let first = std::mem::take(&mut self.inner().gap);
        Look {
            doubts: self,
            first,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Look<'_> {
    /// Nobody has looked since the gap.
    pub(super) fn is_first(&self) -> bool {
        self.first
    }

    /// Whether something may have become visible that was not told.
    pub(super) fn saw(mut self, snapshot: &Snapshot) -> bool {
        let mut inner = self.doubts.inner();
        if std::mem::take(&mut self.first) {
            // Of an earlier gap some may be in doubt still, and are listed again if they run.
            inner.open = snapshot.running().iter().copied().collect();
            return true;
        }
        let before = inner.open.len();
        inner.open.retain(|xid| snapshot.is_running(*xid));
        inner.open.len() < before
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        // Nothing was seen.
        if self.first {
            self.doubts.inner().gap = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saw(doubts: &Doubts, snapshot: &str) -> bool {
        doubts.look().saw(&snapshot.parse().expect("a snapshot"))
    }

    #[test]
    fn what_was_open_at_a_gap_is_in_doubt_until_it_ends() {
        let doubts = Doubts::default();
        assert!(!doubts.are_there());
        doubts.gap();
        assert!(saw(&doubts, "10:20:10,14,15"));
        assert!(doubts.are_there());
        assert!(!saw(&doubts, "10:30:10,14,15,25"));
        assert!(saw(&doubts, "10:30:10,15,25"));
        assert!(!saw(&doubts, "10:30:10,15,25"));
        // Told by the stream: no doubt any more.
        doubts.told(Xid(15));
        assert!(!saw(&doubts, "10:40:10"));
        assert!(saw(&doubts, "40:40:"));
        assert!(!doubts.are_there());
    }

    #[test]
    fn who_could_not_look_has_to_look_again() {
        let doubts = Doubts::default();
        doubts.gap();
        drop(doubts.look());
        assert!(doubts.are_there());
        // A gap while somebody looks is another one.
        let look = doubts.look();
        doubts.gap();
        assert!(look.saw(&"10:20:10".parse().expect("a snapshot")));
        assert!(saw(&doubts, "10:20:10,12"));
        assert!(saw(&doubts, "10:20:10"));
        assert!(doubts.are_there());
    }
}
