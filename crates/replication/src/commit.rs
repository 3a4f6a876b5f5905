//! What a transaction did, without its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::lsn::Lsn;
use crate::shape::Shape;
use crate::xid::Xid;

/// A committed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Where its commit is in the log. Commits come in this order.
    pub commit_lsn: Lsn,
    /// Where its commit ends: who has read up to here has read it.
    pub end_lsn: Lsn,
    /// Its id.
    pub xid: Xid,
    /// When it was committed, by the server's clock; not in order.
    pub at: Timestamp,
    /// The published relations it touched, by OID; partitions by their own.
    pub relations: BTreeMap<u32, Touched>,
    /// Anything may be different: definitions changed that are of no relation, or of more than were noted.
    pub everything: bool,
    /// What our own functions wrote into the log, in order, but for what is told otherwise here.
    pub messages: Vec<Box<str>>,
}

/// What happened to a relation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// As it looked when rows changed last. `None`: none did, or it is not known.
    pub shape: Option<Arc<Shape>>,
    /// Rows inserted.
    pub inserts: u64,
    /// Rows updated.
    pub updates: u64,
    /// Rows deleted.
    pub deletes: u64,
    /// It was emptied.
    pub truncated: bool,
    /// Its definition changed: columns, grants, policies, its existence.
    pub redefined: bool,
    /// Which rows changed.
    pub keys: Keys,
}

/// Rows by the values of their replica identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// Exactly these: old and new values. With the replica identity's columns only, so who looks at other
    /// columns must know that an update or delete says nothing of what they were.
    Exactly(BTreeSet<Key>),
    /// Any row.
    All,
}

impl Default for Keys {
    fn default() -> Self {
        Self::Exactly(BTreeSet::new())
    }
}

/// The values of a row's replica identity in text form, in the order of [`Shape::key`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Box<[Option<Box<str>>]>);

impl Key {
    /// Bytes it takes, with what keeping it takes.
    pub(crate) fn weight(&self) -> usize {
        let values = self.0.iter();
        48 + values
            .map(|value| 16 + value.as_ref().map_or(0, |text| text.len()))
            .sum::<usize>()
    }
}

impl Commit {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.relations.is_empty() && !self.everything && self.messages.is_empty()
    }

    /// Bytes it takes, about.
    pub fn weight(&self) -> usize {
        let keys = |touched: &Touched| match &touched.keys {
            Keys::Exactly(keys) => keys.iter().map(Key::weight).sum(),
            Keys::All => 0,
        };
        let relations = self.relations.values();
        let messages = self.messages.iter();
        128 + relations.map(|touched| 96 + keys(touched)).sum::<usize>()
            + messages.map(|text| 32 + text.len()).sum::<usize>()
    }
}
