//! Which of the commits that were told can be seen.
//!
//! A commit is told when it is in the log. It can be seen a moment later, or much later if the server waits for a
//! standby, and commits need not become visible in the order of the log. So a result is compared, by the ids of
//! transactions, with every commit that was told and that no earlier result has shown to be visible.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use rolegate_replication::{Commit, Lsn};

use crate::snapshot::Snapshot;
use crate::touch::Touch;

/// Commits that are remembered until they are known to be visible.
const MOST: usize = 4096;

/// Something that is being run: its snapshot will be a later one than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    begun: u64,
}

/// What can be said of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It shows everything that was told, up to the last commit that touches it.
    Current(Lsn),
    /// It shows everything up to this commit; a later one was told, and is not in it.
    Superseded(Lsn),
    /// It shows a commit, and not an earlier one.
    Torn,
    /// Something may have been committed that it does not show and that was not told.
    Unknown,
}

/// Commits that were told and may not be visible yet.
#[derive(Debug, Default)]
pub(super) struct Visibility {
    /// Counts tickets and snapshots.
    clock: u64,
    running: BTreeSet<u64>,
    /// Told commits in their order, with the moment at which they were visible.
    recent: VecDeque<(Arc<Commit>, Option<u64>)>,
    /// The last commit of each relation that everybody can see.
    seen: HashMap<u32, Lsn>,
    /// The last one that may have changed anything.
    seen_everything: Lsn,
    /// The moment from which on something could be missed. What has begun before it says nothing any more.
    doubted_at: u64,
    /// Transactions that may have committed without being told, with the moment at which they were visible, or had
    /// not committed after all. `None`: any, before a snapshot is taken.
    doubted: Option<Vec<(u64, Option<u64>)>>,
}

impl Visibility {
    /// Nothing that was known holds; what is committed after `at` will be told.
    pub(super) fn lose(&mut self, at: Lsn) {
        self.recent.clear();
        self.seen.clear();
        self.seen_everything = at;
        self.doubt();
    }

    fn doubt(&mut self) {
        self.doubted_at = self.clock;
        self.doubted = None;
    }

    /// The next commit.
    pub(super) fn tell(&mut self, commit: &Arc<Commit>) {
        if let Some(doubted) = &mut self.doubted {
            doubted.retain(|(xid, _)| *xid != commit.xid.0);
        }
        self.recent.push_back((Arc::clone(commit), None));
        while self.recent.len() > MOST {
            let Some((oldest, visible)) = self.recent.pop_front() else {
                return;
            };
            self.forget(&oldest);
            if !visible.is_some_and(|moment| self.is_over(moment)) {
                self.doubt();
            }
        }
    }

    /// Many are remembered: somebody should take a snapshot.
    pub(super) fn is_crowded(&self) -> bool {
        self.recent.len() > MOST / 2
    }

    /// Nothing is certain before somebody has taken a snapshot.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubted.is_none()
    }

    /// Before a statement is run. What it gives has to be ended, or given up.
    pub(super) fn begin(&mut self) -> Ticket {
        self.clock += 1;
        self.running.insert(self.clock);
        Ticket { begun: self.clock }
    }

    /// It was not run.
    pub(super) fn give_up(&mut self, ticket: Ticket) {
        self.running.remove(&ticket.begun);
        self.prune();
    }

    /// What the snapshot of the statement says about its result. Everything that was committed before the
    /// snapshot was taken has been told by now.
    pub(super) fn end(&mut self, ticket: Ticket, snapshot: &Snapshot, touch: &Touch) -> Standing {
        let standing = if self.observe(ticket, snapshot, false) {
            self.judge(snapshot, touch)
        } else {
            Standing::Unknown
        };
        self.give_up(ticket);
        standing
    }

    /// A snapshot that was taken for its own sake, and says of every transaction that had begun whether it runs:
    /// one with a higher id has ended.
    pub(super) fn look(&mut self, ticket: Ticket, snapshot: &Snapshot) {
        self.observe(ticket, snapshot, true);
        self.give_up(ticket);
    }

    /// Notes what the snapshot shows. Whether it shows everything that could have been missed.
    ///
    /// What could be missed is only known from a snapshot that is `complete`. Others don't list what runs at or past
    /// their `xmax`: a transaction that waits for a standby has begun, is in the log, and may be such a one.
    fn observe(&mut self, ticket: Ticket, snapshot: &Snapshot, complete: bool) -> bool {
        let is_late_enough = ticket.begun > self.doubted_at;
        self.clock += 1;
        let now = self.clock;
        for (commit, visible) in &mut self.recent {
            if visible.is_none() && snapshot.contains(commit.xid.0) {
                *visible = Some(now);
            }
        }
        if !is_late_enough || (self.doubted.is_none() && !complete) {
            return false;
        }
        let doubted = self.doubted.get_or_insert_with(|| {
            // Whatever else runs by now could show less.
            self.doubted_at = now;
            let told = |xid: u64| self.recent.iter().any(|(commit, _)| commit.xid.0 == xid);
            let running = snapshot.running().iter().copied();
            running
                .filter(|xid| !told(*xid))
                .map(|xid| (xid, None))
                .collect()
        });
        for (xid, over) in &mut *doubted {
            if over.is_none() && snapshot.contains(*xid) {
                *over = Some(now);
            }
        }
        doubted.iter().all(|(xid, _)| snapshot.contains(*xid))
    }

    fn judge(&self, snapshot: &Snapshot, touch: &Touch) -> Standing {
        let seen = touch
            .relations()
            .iter()
            .filter_map(|oid| self.seen.get(oid));
        let mut version = seen.copied().fold(self.seen_everything, Lsn::max);
        let mut hidden = None;
        for (commit, _) in &self.recent {
            if !touch.is_touched_by(commit) {
                continue;
            }
            if snapshot.contains(commit.xid.0) {
                version = version.max(commit.commit_lsn);
            } else {
                // In the order of the log: the first one is the earliest.
                hidden = hidden.or(Some(commit.commit_lsn));
            }
        }
        match hidden {
            None => Standing::Current(version),
            Some(lsn) if lsn > version => Standing::Superseded(version),
            Some(_) => Standing::Torn,
        }
    }

    /// What was visible before everything that runs has begun is visible to all of it.
    fn prune(&mut self) {
        while let Some((_, Some(moment))) = self.recent.front()
            && self.is_over(*moment)
        {
            let Some((commit, _)) = self.recent.pop_front() else {
                return;
            };
            self.forget(&commit);
        }
        let first = self.running.first().copied();
        let is_over = |moment: u64| first.is_none_or(|first| moment < first);
        if let Some(doubted) = &mut self.doubted {
            doubted.retain(|(_, over)| !over.is_some_and(is_over));
        }
    }

    /// Everything that runs has begun after this moment.
    fn is_over(&self, moment: u64) -> bool {
        self.running.first().is_none_or(|first| moment < *first)
    }

    fn forget(&mut self, commit: &Commit) {
        if commit.everything {
            self.seen_everything = self.seen_everything.max(commit.commit_lsn);
        }
        for oid in commit.relations.keys() {
            self.seen.insert(*oid, commit.commit_lsn);
        }
    }
}
