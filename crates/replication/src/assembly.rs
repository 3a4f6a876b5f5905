//! From messages to commits.

mod gathering;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::commit::Commit;
use crate::lsn::Lsn;
use crate::pgoutput::{Begin, Head, Logical, Message, Old, Relation, Subject};
use crate::shape::Shape;
use crate::xid::Xid;
use gathering::Gathering;

/// What a commit may hold at most, whatever the transaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Keys of one relation; beyond, it counts as changed everywhere.
    pub keys: usize,
    /// Bytes of one key; with a longer one its relation counts as changed everywhere.
    pub key_bytes: usize,
    /// Bytes of all keys and messages together.
    pub bytes: usize,
    /// Relations; beyond, everything counts as changed.
    pub relations: usize,
    /// Relations whose columns are remembered between transactions; the keys of others are not told.
    pub shapes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            keys: 1000,
            key_bytes: 1024,
            bytes: 128 * 1024,
            relations: 1000,
            shapes: 10_000,
        }
    }
}

/// A message that has no place where it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    /// A transaction begins inside of another one.
    #[error("a transaction begins before the one before has ended")]
    Nested,
    /// A change outside of a transaction.
    #[error("a change outside of a transaction")]
    Outside,
    /// It ends as another one than it began.
    #[error("the transaction that begins as {began} ends as {ended}")]
    OtherCommit {
        /// Where its commit should be.
        began: Lsn,
        /// Where it is.
        ended: Lsn,
    },
    /// A commit that is not after the one before.
    #[error("the commit at {this} comes after that at {before}")]
    Order {
        /// The commit.
        this: Lsn,
        /// The one before.
        before: Lsn,
    },
    /// A message that is too long, and of a kind that can't be left out.
    #[error("a message is longer than allowed")]
    TooLong,
    /// A time that no calendar has.
    #[error("a commit at an impossible time")]
    Time,
}

/// Puts the messages of one connection together.
///
/// The server sends a transaction whole, after its commit; what is kept of it meanwhile is within the
/// bounds, so a transaction of any size takes the same memory.
#[derive(Debug)]
pub struct Assembler {
    prefix: Box<str>,
    bounds: Bounds,
    shapes: HashMap<u32, Arc<Shape>>,
    /// An id that is near those to come.
    near: Xid,
    last: Lsn,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    begin: Begin,
    gathering: Gathering,
}

impl Assembler {
    /// For one connection: `near` is an id that the server named lately, and `prefix` that of our own
    /// messages.
    pub fn new(near: Xid, prefix: &str, bounds: Bounds) -> Self {
        Self {
            prefix: prefix.into(),
            bounds,
            shapes: HashMap::new(),
            near,
            last: Lsn::default(),
            open: None,
        }
    }

    /// Whether a transaction has begun and not ended.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes the next message; gives the commit that it ends, if it ends one.
    pub fn take(&mut self, message: &Message<'_>) -> Result<Option<Commit>, AssemblyError> {
        match message {
            Message::Begin(begin) => return self.begin(*begin).map(|()| None),
            Message::Commit(committed) => {
                let open = self.open.take().ok_or(AssemblyError::Outside)?;
                let (began, ended) = (open.begin.commit_lsn, committed.commit_lsn);
                if began != ended {
                    return Err(AssemblyError::OtherCommit { began, ended });
                }
                self.near = self.near.nearest(open.begin.xid);
                let at = time(committed.at)?;
                return Ok(Some(open.gathering.finish(*committed, self.near, at)));
            }
            // What it looks like is remembered, wherever it is said.
            Message::Relation(relation) => self.relation(relation),
            Message::Insert { relation, new } => {
                let (gathering, shape) = self.change(*relation)?;
                gathering.touch(*relation, shape).inserts += 1;
                gathering.key(*relation, shape, new, None);
            }
            Message::Update { relation, old, new } => {
                let (gathering, shape) = self.change(*relation)?;
                gathering.touch(*relation, shape).updates += 1;
                let before = old.map(|(Old::Key(row) | Old::Row(row))| row);
                if let Some(before) = &before {
                    gathering.key(*relation, shape, before, None);
                }
                gathering.key(*relation, shape, new, before.as_ref());
            }
            Message::Delete { relation, old } => {
                let (gathering, shape) = self.change(*relation)?;
                gathering.touch(*relation, shape).deletes += 1;
                let (Old::Key(row) | Old::Row(row)) = old;
                gathering.key(*relation, shape, row, None);
            }
            Message::Truncate { relations } => {
                let gathering = self.gathering()?;
                for relation in relations.iter() {
                    gathering.truncate(relation);
                }
            }
            Message::Logical(logical) => self.logical(logical)?,
            Message::Origin { .. } | Message::Type { .. } => {}
        }
        Ok(None)
    }

    /// Takes the beginning of a message that was too long to be held.
    pub fn take_head(&mut self, head: Head<'_>) -> Result<(), AssemblyError> {
        match head.subject().ok_or(AssemblyError::TooLong)? {
            Subject::Row(relation) => {
                let (gathering, shape) = self.change(relation)?;
                gathering.touch(relation, shape);
                gathering.all_keys(relation);
            }
            Subject::Relations => self.gathering()?.everything(),
            Subject::Logical(true, prefix) if prefix == self.prefix.as_bytes() => {
                self.gathering()?.everything();
            }
            Subject::Logical(..) => {}
        }
        Ok(())
    }

    fn relation(&mut self, relation: &Relation<'_>) {
        let shape = Arc::new(Shape::of(relation));
        let room = self.shapes.len() < self.bounds.shapes;
        match self.shapes.get_mut(&relation.oid) {
            Some(known) if *known == shape => {}
            Some(known) => {
                *known = shape;
                if let Some(open) = &mut self.open {
                    open.gathering.redefine(relation.oid);
                }
            }
            None if room => drop(self.shapes.insert(relation.oid, shape)),
            None => {}
        }
    }

    fn begin(&mut self, begin: Begin) -> Result<(), AssemblyError> {
        if self.open.is_some() {
            return Err(AssemblyError::Nested);
        }
        let (this, before) = (begin.commit_lsn, self.last);
        if this <= before {
            return Err(AssemblyError::Order { this, before });
        }
        self.last = this;
        self.open = Some(Open {
            begin,
            gathering: Gathering::new(self.bounds),
        });
        Ok(())
    }

    fn gathering(&mut self) -> Result<&mut Gathering, AssemblyError> {
        let open = self.open.as_mut().ok_or(AssemblyError::Outside)?;
        Ok(&mut open.gathering)
    }

    /// Where a change of this relation goes, and what the relation looks like.
    fn change(
        &mut self,
        relation: u32,
    ) -> Result<(&mut Gathering, Option<&Arc<Shape>>), AssemblyError> {
        let open = self.open.as_mut().ok_or(AssemblyError::Outside)?;
        Ok((&mut open.gathering, self.shapes.get(&relation)))
    }

    fn logical(&mut self, logical: &Logical<'_>) -> Result<(), AssemblyError> {
        if logical.prefix != self.prefix.as_bytes() || !logical.transactional {
            return Ok(());
        }
        self.gathering()?.message(logical.content);
        Ok(())
    }
}

/// The server counts from 2000.
fn time(micros: i64) -> Result<Timestamp, AssemblyError> {
    const EPOCH_SECONDS: i64 = 946_684_800;
    micros
        .checked_add(EPOCH_SECONDS * 1_000_000)
        .and_then(|micros| Timestamp::from_microsecond(micros).ok())
        .ok_or(AssemblyError::Time)
}

#[cfg(test)]
mod tests;
