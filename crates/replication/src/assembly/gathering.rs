//! What is kept of a transaction while it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::Bounds;
use crate::commit::{Commit, Key, Keys, Touched};
use crate::pgoutput::{Committed, Tuple};
use crate::shape::Shape;
use crate::xid::Xid;

/// How a message of ours about definitions begins; OIDs of relations follow, or [`ANY`].
const DEFINITIONS: &str = "ddl";
/// Definitions of something that is no relation.
const ANY: &str = "*";
/// A message of whoever waits for the stream to come to it.
const WAITER: &str = "waiter";

#[derive(Debug)]
pub(super) struct Gathering {
    bounds: Bounds,
    relations: BTreeMap<u32, Touched>,
    messages: Vec<Box<str>>,
    everything: bool,
    /// Bytes of keys and messages.
    bytes: usize,
    /// Where changes of relations go that are not noted one by one any more.
    elsewhere: Touched,
}

impl Gathering {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            relations: BTreeMap::new(),
            messages: Vec::new(),
            everything: false,
            bytes: 0,
            elsewhere: Touched::default(),
        }
    }

    /// The relation's place; its rows look so from now on.
    pub(super) fn touch(&mut self, relation: u32, shape: Option<&Arc<Shape>>) -> &mut Touched {
        let touched = self.note(relation);
        touched.shape = shape.map(Arc::clone);
        touched
    }

    /// Its definition changes: keys of before and after can't stand side by side.
    pub(super) fn redefine(&mut self, relation: u32) {
        self.note(relation).redefined = true;
        self.all_keys(relation);
    }

    fn note(&mut self, relation: u32) -> &mut Touched {
        if self.relations.len() >= self.bounds.relations && !self.relations.contains_key(&relation)
        {
            self.everything();
            return &mut self.elsewhere;
        }
        self.relations.entry(relation).or_default()
    }

    /// Notes the key of a row.
    pub(super) fn key(
        &mut self,
        relation: u32,
        shape: Option<&Arc<Shape>>,
        row: &Tuple<'_>,
        before: Option<&Tuple<'_>>,
    ) {
        let Some(touched) = self.relations.get_mut(&relation) else {
            return;
        };
        let Keys::Exactly(keys) = &mut touched.keys else {
            return;
        };
        let key = shape.and_then(|shape| shape.key_of(row, before, self.bounds.key_bytes));
        match key {
            Some(key) if keys.contains(&key) => {}
            Some(key)
                if keys.len() < self.bounds.keys
                    && self.bytes + key.weight() <= self.bounds.bytes =>
            {
                self.bytes += key.weight();
                keys.insert(key);
            }
            _ => self.all_keys(relation),
        }
    }

    /// Any row of it may be different.
    pub(super) fn all_keys(&mut self, relation: u32) {
        let keys = &mut self.note(relation).keys;
        if let Keys::Exactly(exactly) = std::mem::replace(keys, Keys::All) {
            self.bytes -= weight(&exactly);
        }
    }

    pub(super) fn truncate(&mut self, relation: u32) {
        self.note(relation).truncated = true;
        self.all_keys(relation);
    }

    pub(super) fn everything(&mut self) {
        self.everything = true;
    }

    /// A message of ours.
    pub(super) fn message(&mut self, content: &[u8]) {
        let Ok(text) = str::from_utf8(content) else {
            return self.everything();
        };
        let mut words = text.split(' ');
        match words.next() {
            Some(WAITER) => {}
            Some(DEFINITIONS) => words.for_each(|word| self.redefined(word)),
            _ if self.bytes + text.len() + 32 <= self.bounds.bytes => {
                self.bytes += text.len() + 32;
                self.messages.push(text.into());
            }
            // What it would have said is not known, so nothing is.
            _ => self.everything(),
        }
    }

    fn redefined(&mut self, word: &str) {
        match word.parse() {
            Ok(relation) if word != ANY => self.redefine(relation),
            _ => self.everything(),
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn finish(self, committed: Committed, xid: Xid, at: Timestamp) -> Commit {
        Commit {
            commit_lsn: committed.commit_lsn,
            end_lsn: committed.end_lsn,
            xid,
            at,
            relations: self.relations,
            everything: self.everything,
            messages: self.messages,
        }
    }
}

fn weight(keys: &BTreeSet<Key>) -> usize {
    keys.iter().map(Key::weight).sum()
}
