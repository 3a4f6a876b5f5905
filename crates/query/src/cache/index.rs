//! Which answers a commit touches.

use std::collections::{BTreeSet, HashMap, HashSet};

use rolegate_replication::{Commit, Keys, Touched};

use super::Hash;
use crate::touch::Touch;

/// Answers by what they read.
#[derive(Debug, Default)]
pub(super) struct Index {
    relations: HashMap<u32, Watchers>,
}

/// Answers that read one relation.
#[derive(Debug, Default)]
struct Watchers {
    /// Depending on all of its rows.
    whole: HashSet<Hash>,
    /// Depending on those with a value in a column.
    pinned: HashMap<Box<str>, HashMap<Box<str>, HashSet<Hash>>>,
}

impl Index {
    pub(super) fn add(&mut self, hash: Hash, touch: &Touch) {
        for oid in touch.relations() {
            let watchers = self.relations.entry(*oid).or_default();
            match touch.pinned().next() {
                Some((column, value)) => {
                    let values = watchers.pinned.entry(column.into()).or_default();
                    values.entry(value.into()).or_default().insert(hash);
                }
                None => {
                    watchers.whole.insert(hash);
                }
            }
        }
    }

    pub(super) fn remove(&mut self, hash: Hash, touch: &Touch) {
        for oid in touch.relations() {
            let Some(watchers) = self.relations.get_mut(oid) else {
                continue;
            };
            watchers.remove(hash, touch);
            if watchers.whole.is_empty() && watchers.pinned.is_empty() {
                self.relations.remove(oid);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.relations.clear();
    }

    /// Those that could be touched; whether they are is for their [`Touch`] to say.
    pub(super) fn candidates(&self, commit: &Commit) -> BTreeSet<Hash> {
        let mut found = BTreeSet::new();
        for (oid, touched) in &commit.relations {
            if let Some(watchers) = self.relations.get(oid) {
                watchers.candidates(touched, &mut found);
            }
        }
        found
    }
}

impl Watchers {
    fn remove(&mut self, hash: Hash, touch: &Touch) {
        let Some((column, value)) = touch.pinned().next() else {
            self.whole.remove(&hash);
            return;
        };
        let Some(values) = self.pinned.get_mut(column) else {
            return;
        };
        if let Some(hashes) = values.get_mut(value) {
            hashes.remove(&hash);
            if hashes.is_empty() {
                values.remove(value);
            }
        }
        if values.is_empty() {
            self.pinned.remove(column);
        }
    }

    fn candidates(&self, touched: &Touched, found: &mut BTreeSet<Hash>) {
        found.extend(&self.whole);
        for (column, values) in &self.pinned {
            let place = touched
                .shape
                .as_ref()
                .and_then(|shape| shape.key.iter().position(|key| key.name == *column));
            match (place, &touched.keys) {
                (Some(place), Keys::Exactly(keys)) if !touched.truncated && !touched.redefined => {
                    for key in keys {
                        let value = key.0.get(place).and_then(Option::as_ref);
                        let hashes = value.and_then(|value| values.get(value));
                        found.extend(hashes.into_iter().flatten());
                    }
                }
                _ => found.extend(values.values().flatten()),
            }
        }
    }
}
