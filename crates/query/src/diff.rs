//! What is different between two results of one query, row by row.
//!
//! Rows are known by keys, which differ within a result. If the order counts, the changes give it too: who
//! takes out what is deleted or has a position, and then puts in what has one, in ascending positions, has
//! exactly the new list.

mod keys;
mod order;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

pub use keys::{by_columns, by_content};

/// A row of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is known by. No two rows of a result have the same.
    pub key: Arc<str>,
    /// A JSON object on one line.
    pub json: Bytes,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// It was not there before.
    Insert,
    /// It has other values, or stands elsewhere.
    Update,
    /// It is not there any more.
    Delete,
}

impl Op {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// A row that is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What became of it.
    pub op: Op,
    /// The row as it is; one that is deleted as it was.
    pub row: Row,
    /// Where it stands, if the order counts; never of one that is deleted.
    pub position: Option<usize>,
}

/// What leads from `old` to `new`: first what is deleted, then the others in the order of `new`.
pub fn changes(old: &[Row], new: &[Row], ordered: bool) -> Vec<Change> {
    let places: HashMap<&str, usize> = old
        .iter()
        .enumerate()
        .map(|(place, row)| (&*row.key, place))
        .collect();
    // Of each new row: its place in the old list, and whether it is what it was.
    let before: Vec<Option<(usize, bool)>> = new
        .iter()
        .map(|row| {
            let place = *places.get(&*row.key)?;
            Some((place, old[place].json == row.json))
        })
        .collect();
    let mut there = vec![false; old.len()];
    for (place, _) in before.iter().flatten() {
        there[*place] = true;
    }
    let deleted = old.iter().zip(&there).filter(|(_, there)| !**there);
    let mut changes: Vec<Change> = deleted
        .map(|(row, _)| Change {
            op: Op::Delete,
            row: row.clone(),
            position: None,
        })
        .collect();
    let stays = if ordered {
        order::stay(&before)
    } else {
        before
            .iter()
            .map(|before| matches!(before, Some((_, true))))
            .collect()
    };
    for (position, row) in new.iter().enumerate() {
        if stays[position] {
            continue;
        }
        let op = match before[position] {
            Some(_) => Op::Update,
            None => Op::Insert,
        };
        changes.push(Change {
            op,
            row: row.clone(),
            position: ordered.then_some(position),
        });
    }
    changes
}

#[cfg(test)]
mod tests;
