//! One reader of the feed.

use tokio::sync::watch;

use super::ring::{Entry, Found, Ring};
use super::{Event, Feed, Lost, Why};
use crate::lsn::Lsn;

/// A place in the feed.
#[derive(Debug)]
pub struct Subscription {
    feed: Feed,
    version: watch::Receiver<u64>,
    place: u64,
    told: Lsn,
}

impl Subscription {
    pub(super) fn new(feed: Feed, ring: &Ring) -> Self {
        let version = feed.0.version.subscribe();
        Self {
            place: ring.end(),
            told: ring.passed(),
            feed,
            version,
        }
    }

    pub(super) fn at(feed: Feed, place: u64) -> Self {
        let version = feed.0.version.subscribe();
        Self {
            place,
            told: Lsn::default(),
            feed,
            version,
        }
    }

    /// Where the next event stands.
    pub(crate) fn place(&self) -> u64 {
        self.place
    }

    /// Commits that it has not taken yet.
    pub(crate) fn behind(&self) -> u64 {
        self.feed.ring().end().saturating_sub(self.place)
    }

    /// The next event, in order. Cancel safe: what was not returned comes again.
    pub async fn next(&mut self) -> Event {
        loop {
            self.version.mark_unchanged();
            if let Some(event) = self.take() {
                return event;
            }
            // The feed is held here, so the sender is there.
            let _ = self.version.changed().await;
        }
    }

    /// The next event, if there is one already.
    pub fn take(&mut self) -> Option<Event> {
        let ring = self.feed.ring();
        if matches!(ring.at(self.place), Found::Gone) {
            self.place = ring.again();
            if self.place == ring.end() {
                let (epoch, at) = ring.last()?;
                drop(ring);
                self.told = at;
                metrics::counter!("rolegate_change_stream_lagged_total").increment(1);
                let why = Why::Lagged;
                return Some(Event::Lost(Lost { epoch, at, why }));
            }
        }
        match ring.at(self.place) {
            Found::Entry(entry) => {
                self.place += 1;
                Some(match entry {
                    Entry::Commit(commit) => {
                        self.told = commit.end_lsn;
                        Event::Commit(commit)
                    }
                    Entry::Lost(lost) => {
                        self.told = lost.at;
                        Event::Lost(lost)
                    }
                })
            }
            Found::NotYet if ring.passed() > self.told => {
                self.told = ring.passed();
                Some(Event::Passed(self.told))
            }
            Found::NotYet | Found::Gone => None,
        }
    }
}
