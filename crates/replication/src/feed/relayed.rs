//! Feeding a feed with what another process reads.

use super::ring::{Relay, Ring};
use super::{Feed, Lost};
use crate::commit::Commit;
use crate::lsn::Lsn;

/// This process reads the stream itself by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this process reads the change stream itself")]
pub(crate) struct Leads;

/// What feeds a feed from a relay, until this process reads by itself; also if it has stopped that again: then there
/// is a gap, and whoever wants to go on begins anew.
#[derive(Debug)]
pub(crate) struct Relayed {
    feed: Feed,
    leaderships: u64,
}

impl Feed {
    /// `None` while this process reads.
    pub(crate) fn relayed(&self) -> Option<Relayed> {
        let source = *self.ring().source();
        (!source.leads).then(|| Relayed {
            feed: self.clone(),
            leaderships: source.leaderships,
        })
    }
}

impl Relayed {
    /// The same number as long as nobody but a relay has fed.
    pub(crate) fn leaderships(&self) -> u64 {
        self.leaderships
    }

    /// Follows from there on: nothing that was told before holds.
    pub(crate) fn begins(&self, lost: Lost) -> Result<(), Leads> {
        self.change(|ring| {
            ring.lose(lost);
            ring.source().relay = Relay::Followed;
        })
    }

    /// Goes on where it was.
    pub(crate) fn follows(&self) -> Result<(), Leads> {
        self.change(|ring| ring.source().relay = Relay::Followed)
    }

    /// There was a gap, and it goes on.
    pub(crate) fn loses(&self, lost: Lost) -> Result<(), Leads> {
        self.change(|ring| ring.lose(lost))
    }

    /// The next commit.
    pub(crate) fn tell(&self, commit: Commit) -> Result<(), Leads> {
        self.change(|ring| ring.push(commit))
    }

    /// Everything up to here has been told.
    pub(crate) fn pass(&self, lsn: Lsn) -> Result<(), Leads> {
        self.change(|ring| {
            ring.pass(lsn);
        })
    }

    /// How far the reader was behind when it looked last.
    pub(crate) fn note_lag(&self, bytes: u64) {
        // What is not its business any more needs no number.
        let _ = self.change(|ring| ring.set_lag(bytes));
    }

    /// It can't be heard, for now.
    pub(crate) fn is_away(&self) {
        let _ = self.change(|ring| ring.source().relay = Relay::Away);
    }

    /// There is none.
    pub(crate) fn is_none(&self) {
        let _ = self.change(|ring| ring.source().relay = Relay::None);
    }

    fn change(&self, what: impl FnOnce(&mut Ring)) -> Result<(), Leads> {
        let changed = self.feed.0.version.send_if_modified(|version| {
            let mut ring = self.feed.ring();
            let source = *ring.source();
            if source.leads || source.leaderships != self.leaderships {
                return false;
            }
            what(&mut ring);
            *version += 1;
            true
        });
        if changed { Ok(()) } else { Err(Leads) }
    }
}
