//! What subscribers have not taken yet, within bounds.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{FeedBounds, Lost};
use crate::commit::Commit;
use crate::epoch::Epoch;
use crate::lsn::Lsn;
use crate::status::Status;

#[derive(Debug)]
pub(super) struct Ring {
    bounds: FeedBounds,
    entries: VecDeque<(Entry, usize)>,
    /// Number of the first entry that is still there.
    first: u64,
    bytes: usize,
    passed: Lsn,
    /// Where the last commit ends.
    told: Lsn,
    epoch: Option<Epoch>,
    status: Status,
    lag: u64,
    source: Source,
}

/// Who feeds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Source {
    /// This process reads the stream itself, or is about to.
    pub(super) leads: bool,
    /// How often it began to.
    pub(super) leaderships: u64,
    pub(super) relay: Relay,
}

/// How this process stands to the relay of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Relay {
    /// There is none.
    #[default]
    None,
    /// It can't be heard.
    Away,
    Followed,
}

#[derive(Debug, Clone)]
pub(super) enum Entry {
    Commit(Arc<Commit>),
    Lost(Lost),
}

/// What a subscriber finds at its place.
pub(super) enum Found {
    Entry(Entry),
    /// It is not there any more.
    Gone,
    /// It is not there yet.
    NotYet,
}

impl Ring {
    pub(super) fn new(bounds: FeedBounds) -> Self {
        Self {
            bounds,
            entries: VecDeque::new(),
            first: 0,
            bytes: 0,
            passed: Lsn::default(),
            told: Lsn::default(),
            epoch: None,
            status: Status::Idle,
            lag: 0,
            source: Source::default(),
        }
    }

    pub(super) fn push(&mut self, commit: Commit) {
        self.passed = self.passed.max(commit.end_lsn);
        self.told = commit.end_lsn;
        let weight = commit.weight();
        self.add(Entry::Commit(Arc::new(commit)), weight);
    }

    pub(super) fn lose(&mut self, lost: Lost) {
        // Nobody needs what is void.
        self.first += self.len();
        self.entries.clear();
        self.bytes = 0;
        self.epoch = Some(lost.epoch.clone());
        self.passed = lost.at;
        self.told = Lsn::default();
        self.add(Entry::Lost(lost), 128);
    }

    fn add(&mut self, entry: Entry, weight: usize) {
        self.entries.push_back((entry, weight));
        self.bytes += weight;
        while self.entries.len() > self.bounds.commits || self.bytes > self.bounds.bytes {
            let Some((_, weight)) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= weight;
            self.first += 1;
        }
    }

    /// Whether that is news.
    pub(super) fn pass(&mut self, lsn: Lsn) -> bool {
        let news = lsn > self.passed;
        self.passed = self.passed.max(lsn);
        news
    }

    pub(super) fn at(&self, place: u64) -> Found {
        let Some(index) = place.checked_sub(self.first) else {
            return Found::Gone;
        };
        let index = usize::try_from(index).ok();
        match index.and_then(|index| self.entries.get(index)) {
            Some((entry, _)) => Found::Entry(entry.clone()),
            None => Found::NotYet,
        }
    }

    /// Where somebody goes on whose place is gone: at a gap that everybody is told of, if one is left, else at
    /// the end.
    pub(super) fn again(&self) -> u64 {
        match self.entries.front() {
            Some((Entry::Lost(_), _)) => self.first,
            _ => self.end(),
        }
    }

    /// The place after the last entry.
    pub(super) fn end(&self) -> u64 {
        self.first + self.len()
    }

    fn len(&self) -> u64 {
        u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn passed(&self) -> Lsn {
        self.passed
    }

    pub(super) fn told(&self) -> Lsn {
        self.told
    }

    pub(super) fn status(&self) -> Status {
        match self.source.relay {
            Relay::Followed => Status::Relayed,
            Relay::Away => Status::Unrelayed,
            Relay::None => self.status,
        }
    }

    /// How the reader of this process stands to the stream, whatever comes through a relay.
    pub(super) fn own_status(&self) -> Status {
        self.status
    }

    pub(super) fn source(&mut self) -> &mut Source {
        &mut self.source
    }

    pub(super) fn lag(&self) -> u64 {
        self.lag
    }

    pub(super) fn set_lag(&mut self, bytes: u64) {
        self.lag = bytes;
    }

    pub(super) fn set_status(&mut self, status: Status) {
        self.status = status;
    }

    /// The epoch, while it is followed.
    pub(super) fn current(&self) -> Option<Epoch> {
        let follows = matches!(self.status(), Status::Following | Status::Relayed);
        self.epoch.clone().filter(|_| follows)
    }

    pub(super) fn last(&self) -> Option<(Epoch, Lsn)> {
        Some((self.epoch.clone()?, self.passed))
    }
}
