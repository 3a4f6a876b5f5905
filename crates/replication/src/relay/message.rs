//! What is said.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::commit::{Commit, Key, Keys, Touched};
use crate::feed::{Lost, Why};
use crate::lsn::Lsn;
use crate::shape::{Identity, KeyColumn, Shape};
use crate::xid::Xid;

/// By a subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Question {
    /// The first one.
    Hello {
        protocol: i32,
        /// In hexadecimal digits.
        secret: String,
        /// To go on where he was.
        resume: Option<Place>,
    },
    /// Somebody waits for this position.
    Ask { lsn: Lsn },
    /// A sign of life.
    Alive,
}

/// By the reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Answer {
    /// The last one.
    Refused { why: Refusal },
    /// The first one.
    Welcome {
        /// In the place where the subscriber wanted to go on; else here, and what was before is void.
        resumed: bool,
        place: Place,
        epoch: String,
        /// Everything up to here has been told, or is about to be if he was resumed.
        passed: Lsn,
    },
    /// The next commit. `next` is the place after it.
    Commit { next: u64, commit: Told },
    /// A gap.
    Lost {
        next: u64,
        epoch: String,
        at: Lsn,
        why: Why,
    },
    /// Everything up to here has been told.
    Passed { lsn: Lsn },
    /// A sign of life: bytes that the reader was behind the server, and commits that the subscriber is behind him.
    Alive { lag: u64, behind: u64 },
}

/// A place in somebody's feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// Whose.
    pub(super) feed: String,
    pub(super) next: u64,
}

/// Why somebody is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub(super) enum Refusal {
    #[error("it speaks another protocol")]
    Protocol,
    #[error("the secret is not that of this term")]
    Secret,
    #[error("as many follow as may")]
    Full,
    #[error("it follows no more itself")]
    Withdrawn,
}

impl Refusal {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Secret => "secret",
            Self::Full => "full",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// Those of a key.
type Values = Box<[Option<Box<str>>]>;

/// A commit as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    commit_lsn: Lsn,
    end_lsn: Lsn,
    xid: Xid,
    at: Timestamp,
    everything: bool,
    messages: Vec<Box<str>>,
    relations: BTreeMap<u32, ToldRelation>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToldRelation {
    shape: Option<ToldShape>,
    inserts: u64,
    updates: u64,
    deletes: u64,
    truncated: bool,
    redefined: bool,
    /// `None`: any row.
    keys: Option<Vec<Values>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToldShape {
    schema: Box<str>,
    name: Box<str>,
    identity: Identity,
    key: Box<[KeyColumn]>,
}

impl From<&Commit> for Told {
    fn from(commit: &Commit) -> Self {
        let relations = commit.relations.iter();
        Self {
            commit_lsn: commit.commit_lsn,
            end_lsn: commit.end_lsn,
            xid: commit.xid,
            at: commit.at,
            everything: commit.everything,
            messages: commit.messages.clone(),
            relations: relations
                .map(|(oid, touched)| (*oid, touched.into()))
                .collect(),
        }
    }
}

impl Told {
    /// The same commit, told as one that may have changed anything.
    pub(super) fn of_everything(commit: &Commit) -> Self {
        Self {
            commit_lsn: commit.commit_lsn,
            end_lsn: commit.end_lsn,
            xid: commit.xid,
            at: commit.at,
            everything: true,
            messages: Vec::new(),
            relations: BTreeMap::new(),
        }
    }
}

impl From<&Touched> for ToldRelation {
    fn from(touched: &Touched) -> Self {
        Self {
            shape: touched.shape.as_deref().map(|shape| ToldShape {
                schema: shape.schema.clone(),
                name: shape.name.clone(),
                identity: shape.identity,
                key: shape.key.clone(),
            }),
            inserts: touched.inserts,
            updates: touched.updates,
            deletes: touched.deletes,
            truncated: touched.truncated,
            redefined: touched.redefined,
            keys: match &touched.keys {
                Keys::Exactly(keys) => Some(keys.iter().map(|key| key.0.clone()).collect()),
                Keys::All => None,
            },
        }
    }
}

impl From<Told> for Commit {
    fn from(told: Told) -> Self {
        let relations = told.relations.into_iter();
        Self {
            commit_lsn: told.commit_lsn,
            end_lsn: told.end_lsn,
            xid: told.xid,
            at: told.at,
            relations: relations
                .map(|(oid, relation)| (oid, relation.into()))
                .collect(),
            everything: told.everything,
            messages: told.messages,
        }
    }
}

impl From<ToldRelation> for Touched {
    fn from(told: ToldRelation) -> Self {
        Self {
            shape: told.shape.map(|shape| {
                Arc::new(Shape::new(
                    &shape.schema,
                    &shape.name,
                    shape.identity,
                    shape.key,
                ))
            }),
            inserts: told.inserts,
            updates: told.updates,
            deletes: told.deletes,
            truncated: told.truncated,
            redefined: told.redefined,
            keys: match told.keys {
                Some(keys) => Keys::Exactly(keys.into_iter().map(Key).collect()),
                None => Keys::All,
            },
        }
    }
}

impl Answer {
    pub(super) fn lost(next: u64, lost: &Lost) -> Self {
        Self::Lost {
            next,
            epoch: lost.epoch.as_str().to_owned(),
            at: lost.at,
            why: lost.why,
        }
    }
}
