//! Bodies within a bound of bytes: those that are current, and before them go those that are not.

use std::sync::Arc;

use lru::LruCache;

use super::{Digest, Entry, Hash};

#[derive(Debug)]
pub(super) struct Store {
    most: usize,
    bytes: usize,
    current: LruCache<Hash, Arc<Entry>>,
    superseded: LruCache<(Hash, Digest), Arc<Entry>>,
}

impl Store {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            bytes: 0,
            current: LruCache::unbounded(),
            superseded: LruCache::unbounded(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.current.len() + self.superseded.len()
    }

    pub(super) fn current(&mut self, hash: Hash) -> Option<&Arc<Entry>> {
        self.current.get(&hash)
    }

    /// The same, without counting as use.
    pub(super) fn peek(&self, hash: Hash) -> Option<&Arc<Entry>> {
        self.current.peek(&hash)
    }

    pub(super) fn exactly(&mut self, hash: Hash, digest: Digest) -> Option<&Arc<Entry>> {
        match self.current.get(&hash) {
            Some(entry) if entry.version.digest == digest => Some(entry),
            _ => self.superseded.get(&(hash, digest)),
        }
    }

    /// Puts in what is current. Gives those that were and are no more.
    pub(super) fn put_current(&mut self, entry: Arc<Entry>) -> Vec<Arc<Entry>> {
        let digest = entry.version.digest;
        if let Some(same) = self.superseded.pop(&(entry.hash, digest)) {
            self.bytes -= same.weight();
        }
        self.bytes += entry.weight();
        let mut gone = Vec::new();
        if let Some(old) = self.current.put(entry.hash, entry) {
            gone.push(Arc::clone(&old));
            if old.version.digest == digest {
                self.bytes -= old.weight();
            } else {
                self.keep_old(old);
            }
        }
        gone.extend(self.shrink());
        gone
    }

    /// Puts in what was current a moment ago. Gives those that were and are no more.
    pub(super) fn put_superseded(&mut self, entry: Arc<Entry>) -> Vec<Arc<Entry>> {
        self.bytes += entry.weight();
        self.keep_old(entry);
        self.shrink()
    }

    /// All that are current, by what they read.
    pub(super) fn all_current(&self) -> Vec<Hash> {
        self.current.iter().map(|(hash, _)| *hash).collect()
    }

    /// It is not current any more.
    pub(super) fn supersede(&mut self, hash: Hash) -> Option<Arc<Entry>> {
        let old = self.current.pop(&hash)?;
        self.keep_old(Arc::clone(&old));
        Some(old)
    }

    fn keep_old(&mut self, old: Arc<Entry>) {
        let key = (old.hash, old.version.digest);
        if let Some(older) = self.superseded.put(key, old) {
            self.bytes -= older.weight();
        }
    }

    /// Nothing is known of any of them.
    pub(super) fn clear(&mut self) {
        self.current.clear();
        self.superseded.clear();
        self.bytes = 0;
    }

    fn shrink(&mut self) -> Vec<Arc<Entry>> {
        let mut gone = Vec::new();
        while self.bytes > self.most {
            let oldest = match self.superseded.pop_lru() {
                Some((_, entry)) => entry,
                // The newest one always has room: none is larger than the bound.
                None if self.current.len() > 1 => match self.current.pop_lru() {
                    Some((_, entry)) => {
                        gone.push(Arc::clone(&entry));
                        entry
                    }
                    None => break,
                },
                None => break,
            };
            self.bytes -= oldest.weight();
        }
        gone
    }
}
