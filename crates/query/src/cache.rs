//! Answers that everybody may share, for as long as nothing they were made from changes.
//!
//! Every look at it first takes in what the change stream has told, so that an answer that is called current is
//! current up to there.

mod index;
mod packed;
mod store;
mod version;
mod visibility;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rolegate_replication::{Commit, Epoch, Event, Feed, Lsn, Subscription};

use crate::encode::Format;
use crate::snapshot::Snapshot;
use crate::touch::Touch;
use index::Index;
use packed::{Packed, SMALLEST};
use store::Store;
use visibility::{Standing, Ticket, Visibility};

pub use packed::{Coding, Form};
pub use version::{CursorError, Digest, Hash, Version};

/// What one body takes beside its bytes, about.
const BESIDE: usize = 512;

/// Something that has to be the same for an answer to be used: the state of the catalog.
pub type Catalog = [u64; 4];

/// Answers of one database.
#[derive(Debug)]
pub struct Cache {
    feed: Feed,
    inner: Mutex<Inner>,
    most: usize,
}

#[derive(Debug)]
struct Inner {
    events: Subscription,
    epoch: Option<Epoch>,
    visibility: Visibility,
    index: Index,
    store: Store,
    /// How often something was defined anew.
    definitions: u64,
}

/// An answer that was found or made.
#[derive(Debug)]
pub struct Entry {
    /// What it was found by.
    pub hash: Hash,
    /// What it is called.
    pub version: Version,
    /// Its form.
    pub format: Format,
    /// Its bytes.
    pub body: Bytes,
    /// Its name in an `ETag`, with the quotes.
    pub etag: Bytes,
    /// Its address.
    pub path: Bytes,
    /// The position in its version.
    pub lsn: Bytes,
    /// What copies of it are purged by elsewhere.
    pub purge: Bytes,
    packed: Packed,
    touch: Touch,
    catalog: Catalog,
}

/// Something that was run, and may be kept.
#[derive(Debug)]
pub struct Draft {
    /// What it will be found by.
    pub hash: Hash,
    /// Its form.
    pub format: Format,
    /// Its bytes.
    pub body: Bytes,
    /// What it was made from.
    pub touch: Touch,
    /// What copies of it are purged by elsewhere.
    pub purge: Bytes,
    /// The state of the catalog before it was made.
    pub catalog: Catalog,
}

/// What became of a draft.
#[derive(Debug)]
pub enum Kept {
    /// It is what everybody gets from now on.
    Current(Arc<Entry>),
    /// It is right for its version, and there is a later one.
    Superseded(Arc<Entry>),
    /// It has to be made again.
    Torn,
    /// It can be given to whoever asked, and not be kept.
    Not(Bytes),
}

/// A statement that is being run to make a draft.
#[derive(Debug)]
pub struct Run {
    cache: Arc<Cache>,
    ticket: Option<Ticket>,
    epoch: Epoch,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Bodies.
    pub entries: usize,
    /// Bytes.
    pub bytes: usize,
}

impl Entry {
    fn new(draft: Draft, epoch: Epoch, lsn: Lsn) -> Self {
        let digest = Digest::of(&draft.body);
        let hash = draft.hash;
        let version = Version { epoch, lsn, digest };
        Self {
            // Written once: each request needs them.
            etag: format!("\"{hash}:{version}\"").into(),
            path: format!("/q/{hash}/{version}").into(),
            lsn: lsn.to_string().into(),
            hash,
            version,
            format: draft.format,
            body: draft.body,
            packed: Packed::default(),
            touch: draft.touch,
            purge: draft.purge,
            catalog: draft.catalog,
        }
    }

    /// Whether it may be called so. It is current up to `current`, if it is. An address can be made up, and another
    /// process may know of the same bytes by another position; none says that something was seen which was not.
    pub fn is(&self, version: &Version, current: Option<Lsn>) -> bool {
        let seen = current.unwrap_or_default().max(self.version.lsn);
        self.version.digest == version.digest
            && self.version.epoch == version.epoch
            && version.lsn <= seen
    }

    /// What it may take, with its compressed forms.
    fn weight(&self) -> usize {
        let packed = if self.is_packable() {
            self.body.len()
        } else {
            0
        };
        BESIDE + self.body.len() + packed + self.touch.weight() + self.purge.len()
    }

    /// Whether compressing it is worth anything.
    pub fn is_packable(&self) -> bool {
        self.body.len() >= SMALLEST
    }

    /// What became of this form; `None`: nobody has made it yet.
    pub fn packed(&self, coding: Coding) -> Option<&Form> {
        self.packed.get(coding)
    }

    /// Keeps its bytes in this form for whoever asks next, if there is room.
    pub fn put_packed(&self, coding: Coding, bytes: Bytes) -> &Form {
        self.packed.put(coding, bytes, self.body.len())
    }
}

impl Cache {
    /// An empty one, of at most so many bytes.
    pub fn new(feed: Feed, most: usize) -> Arc<Self> {
        let events = feed.subscribe();
        let mut visibility = Visibility::default();
        // What was told before this is not told again.
        visibility.lose(feed.passed().unwrap_or_default());
        let inner = Inner {
            events,
            epoch: feed.epoch(),
            visibility,
            index: Index::default(),
            store: Store::new(most),
            definitions: 0,
        };
        Arc::new(Self {
            feed,
            inner: Mutex::new(inner),
            most,
        })
    }

    /// The change stream it follows.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Largest body that is kept: a few of them must not drive out everything else.
    pub fn largest(&self) -> usize {
        self.most / 8
    }

    /// The answer that is current, and up to where. `None`: there is none, or this process does not follow.
    pub fn current(&self, hash: Hash, catalog: &Catalog) -> Option<(Arc<Entry>, Lsn)> {
        // Before what was told is taken in: what is told in between is not in it.
        let at = self.feed.passed()?;
        let mut inner = self.take_in()?;
        let entry = inner.store.current(hash)?;
        if entry.catalog != *catalog {
            inner.supersede(hash);
            return None;
        }
        Some((Arc::clone(entry), at))
    }

    /// The answer of this version, current or not: the same bytes, and as new as the version says.
    pub fn exactly(&self, hash: Hash, version: &Version, catalog: &Catalog) -> Option<Arc<Entry>> {
        // Before what was told is taken in, as above.
        let passed = self.feed.passed().unwrap_or_default();
        let mut inner = self.inner();
        inner.take_in();
        let entry = Arc::clone(inner.store.exactly(hash, version.digest)?);
        let is_current = inner
            .store
            .peek(hash)
            .is_some_and(|now| Arc::ptr_eq(now, &entry));
        (entry.catalog == *catalog && entry.is(version, is_current.then_some(passed)))
            .then_some(entry)
    }

    /// Before a statement is run. `None`: this process does not follow, so nothing can be kept.
    pub fn begin(self: &Arc<Self>) -> Option<Run> {
        let mut inner = self.take_in()?;
        Some(Run {
            cache: Arc::clone(self),
            epoch: inner.epoch.clone()?,
            ticket: Some(inner.visibility.begin()),
        })
    }

    /// Takes in what was told. Whether a snapshot should be taken, so that what is remembered becomes less, or
    /// anything can be kept at all.
    pub fn advance(&self) -> bool {
        self.take_in()
            .is_some_and(|inner| inner.visibility.is_crowded() || inner.visibility.is_in_doubt())
    }

    /// Whether nothing can be kept before somebody has looked: see [`Run::look`].
    pub fn is_in_doubt(&self) -> bool {
        self.take_in()
            .is_some_and(|inner| inner.visibility.is_in_doubt())
    }

    /// How often the stream has told that something was defined anew: part of the state of the catalog that what is
    /// kept belongs to.
    pub fn definitions(&self) -> u64 {
        let mut inner = self.inner();
        inner.take_in();
        inner.definitions
    }

    /// How much is kept.
    pub fn size(&self) -> Size {
        let inner = self.inner();
        Size {
            entries: inner.store.len(),
            bytes: inner.store.bytes(),
        }
    }

    /// Up to date, if this process follows.
    fn take_in(&self) -> Option<MutexGuard<'_, Inner>> {
        let mut inner = self.inner();
        inner.take_in();
        let follows = inner.epoch.is_some() && self.feed.epoch() == inner.epoch;
        follows.then_some(inner)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn take_in(&mut self) {
        while let Some(event) = self.events.take() {
            match event {
                Event::Commit(commit) => {
                    self.visibility.tell(&commit);
                    self.touch(&commit);
                }
                Event::Passed(_) => {}
                Event::Lost(lost) => {
                    self.definitions += 1;
                    self.visibility.lose(lost.at);
                    self.epoch = Some(lost.epoch);
                    self.index.clear();
                    self.store.clear();
                }
            }
        }
    }

    fn touch(&mut self, commit: &Commit) {
        let redefined = commit.relations.values().any(|touched| touched.redefined);
        self.definitions += u64::from(commit.everything || redefined);
        if commit.everything {
            for hash in self.store.all_current() {
                self.supersede(hash);
            }
            return;
        }
        for hash in self.index.candidates(commit) {
            let entry = self.store.peek(hash);
            if entry.is_some_and(|entry| entry.touch.is_touched_by(commit)) {
                self.supersede(hash);
            }
        }
    }

    fn supersede(&mut self, hash: Hash) {
        if let Some(entry) = self.store.supersede(hash) {
            self.index.remove(hash, &entry.touch);
        }
    }
}

impl Run {
    /// What came of it: `snapshot` is that of the statement. Everything that was committed before it was taken has
    /// been told by now: whoever calls this has waited for it.
    pub fn end(mut self, snapshot: &Snapshot, draft: Draft) -> Kept {
        let cache = Arc::clone(&self.cache);
        let Some(ticket) = self.ticket.take() else {
            return Kept::Not(draft.body);
        };
        let mut inner = cache.inner();
        inner.take_in();
        let standing = inner.visibility.end(ticket, snapshot, &draft.touch);
        if inner.epoch.as_ref() != Some(&self.epoch) || draft.body.len() + BESIDE > cache.largest()
        {
            return Kept::Not(draft.body);
        }
        let (lsn, is_current) = match standing {
            Standing::Current(lsn) => (lsn, true),
            Standing::Superseded(lsn) => (lsn, false),
            Standing::Torn => return Kept::Torn,
            Standing::Unknown => return Kept::Not(draft.body),
        };
        let entry = Arc::new(Entry::new(draft, self.epoch.clone(), lsn));
        inner.keep(&entry, is_current);
        if is_current {
            Kept::Current(entry)
        } else {
            Kept::Superseded(entry)
        }
    }

    /// A snapshot that was taken for its own sake. If the cache was in doubt, some transaction has to have got its id
    /// and ended after [`Cache::begin`] and before the snapshot, so that it lists all that had begun.
    pub fn look(mut self, snapshot: &Snapshot) {
        if let Some(ticket) = self.ticket.take() {
            let mut inner = self.cache.inner();
            inner.take_in();
            inner.visibility.look(ticket, snapshot);
        }
    }
}

impl Inner {
    fn keep(&mut self, entry: &Arc<Entry>, is_current: bool) {
        let gone = if is_current {
            self.store.put_current(Arc::clone(entry))
        } else {
            self.store.put_superseded(Arc::clone(entry))
        };
        for old in gone {
            self.index.remove(old.hash, &old.touch);
        }
        if is_current {
            self.index.add(entry.hash, &entry.touch);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.cache.inner().visibility.give_up(ticket);
        }
    }
}

#[cfg(test)]
mod tests;
