//! What handlers write down for people and for the next attempt. It is kept in memory and written
//! for many jobs at once.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::job::Attempt;

/// Bytes of a checkpoint, at most: it is for where to go on, not for what was found.
pub(crate) const MAX_CHECKPOINT: usize = 64 * 1024;
/// Characters of a message that are kept.
const MAX_MESSAGE: usize = 1000;

/// Why a checkpoint was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It can't be written as JSON.
    #[error("the checkpoint is no JSON")]
    Json(#[from] serde_json::Error),
    /// It says too much.
    #[error(
        "the checkpoint has {bytes} bytes, at most {MAX_CHECKPOINT} are kept: \
         store the data elsewhere and its place here"
    )]
    TooLarge {
        /// Of its JSON.
        bytes: usize,
    },
}

/// What is new since the last time. A field that is not there stays as it is.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Note {
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Box<RawValue>>,
}

impl Note {
    pub(crate) fn progress(percent: u8, message: &str) -> Self {
        Self {
            percent: Some(percent.min(100)),
            // PostgreSQL's JSON has no such character.
            message: Some(
                message
                    .chars()
                    .filter(|c| *c != '\0')
                    .take(MAX_MESSAGE)
                    .collect(),
            ),
            checkpoint: None,
        }
    }

    pub(crate) fn checkpoint<T: Serialize + ?Sized>(value: &T) -> Result<Self, CheckpointError> {
        let json = serde_json::value::to_raw_value(value)?;
        let bytes = json.get().len();
        if bytes > MAX_CHECKPOINT {
            return Err(CheckpointError::TooLarge { bytes });
        }
        Ok(Self {
            checkpoint: Some(json),
            ..Self::default()
        })
    }

    fn then(self, newer: Self) -> Self {
        Self {
            percent: newer.percent.or(self.percent),
            message: newer.message.or(self.message),
            checkpoint: newer.checkpoint.or(self.checkpoint),
        }
    }
}

/// The notes of the attempts that run here.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    entries: Mutex<BTreeMap<(i64, i16), Entry>>,
    some: tokio::sync::Notify,
    /// Held while notes are written, so that an older one of an attempt never comes after a newer one.
    pub(crate) writing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Entry {
    attempt: Attempt,
    unsaved: Option<Note>,
    /// Being written; not known yet whether it is.
    sent: Option<Note>,
}

/// What is left of the notes of an attempt that ends.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Something was written, or may have been.
    pub(crate) noted: bool,
    /// What may not be written yet.
    pub(crate) unsaved: Option<Note>,
}

impl Notes {
    pub(crate) fn add(&self, attempt: Attempt, note: Note) {
        let mut entries = self.lock();
        let entry = entries.entry(attempt.place()).or_insert(Entry {
            attempt,
            unsaved: None,
            sent: None,
        });
        entry.unsaved = Some(match entry.unsaved.take() {
            Some(older) => older.then(note),
            None => note,
        });
        drop(entries);
        self.some.notify_one();
    }

    /// Waits for one.
    pub(crate) fn some(&self) -> impl Future<Output = ()> + '_ {
        self.some.notified()
    }

    /// Those that are not written yet, to be written now.
    pub(crate) fn take(&self) -> Vec<(Attempt, Note)> {
        let mut entries = self.lock();
        let unsaved = entries.values_mut().filter_map(|entry| {
            let note = entry.unsaved.take()?;
            entry.sent = Some(note.clone());
            Some((entry.attempt, note))
        });
        unsaved.collect()
    }

    /// They are written, or refused.
    pub(crate) fn settled(&self, notes: &[(Attempt, Note)]) {
        let mut entries = self.lock();
        for (attempt, _) in notes {
            if let Some(entry) = entries.get_mut(&attempt.place()) {
                entry.sent = None;
            }
        }
    }

    /// They are not known to be.
    pub(crate) fn not_written(&self, notes: &[(Attempt, Note)]) {
        let mut entries = self.lock();
        for (attempt, _) in notes {
            if let Some(entry) = entries.get_mut(&attempt.place())
                && let Some(sent) = entry.sent.take()
            {
                entry.unsaved = Some(match entry.unsaved.take() {
                    Some(newer) => sent.then(newer),
                    None => sent,
                });
            }
        }
        drop(entries);
        self.some.notify_one();
    }

    /// The handler of this attempt will note nothing more.
    pub(crate) fn end(&self, attempt: Attempt) -> Left {
        let Some(entry) = self.lock().remove(&attempt.place()) else {
            return Left::default();
        };
        // One that was never sent, and of which nothing is sent, has no row.
        let unsaved = match (entry.sent, entry.unsaved) {
            (Some(sent), Some(newer)) => Some(sent.then(newer)),
            (sent, unsaved) => sent.or(unsaved),
        };
        Left {
            noted: true,
            unsaved,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(i64, i16), Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const FIRST: Attempt = Attempt {
        worker: 1,
        claim: 1,
        claimed_at: SystemTime::UNIX_EPOCH,
        ordinal: 1,
        flags: 0,
    };

    fn text(note: &Note) -> String {
        serde_json::to_string(note).unwrap()
    }

    #[test]
    fn the_newest_of_each_is_written_once() {
        let notes = Notes::default();
        notes.add(FIRST, Note::progress(1, "one"));
        notes.add(FIRST, Note::checkpoint(&[1]).unwrap());
        notes.add(FIRST, Note::progress(255, "a\0b"));
        let taken = notes.take();
        assert_eq!(
            text(&taken[0].1),
            r#"{"percent":100,"message":"ab","checkpoint":[1]}"#
        );
        notes.settled(&taken);
        assert!(notes.take().is_empty());
        let left = notes.end(FIRST);
        assert!(left.noted && left.unsaved.is_none());
        assert!(!notes.end(FIRST).noted);
    }

    #[test]
    fn what_could_not_be_written_is_written_with_the_next() {
        let notes = Notes::default();
        notes.add(FIRST, Note::checkpoint(&1).unwrap());
        let taken = notes.take();
        notes.add(FIRST, Note::progress(2, ""));
        notes.not_written(&taken);
        let taken = notes.take();
        assert_eq!(
            text(&taken[0].1),
            r#"{"percent":2,"message":"","checkpoint":1}"#
        );
        // On its way when the attempt ends: it is not known whether it arrives.
        notes.add(FIRST, Note::progress(3, ""));
        let left = notes.end(FIRST).unsaved.unwrap();
        assert_eq!(text(&left), r#"{"percent":3,"message":"","checkpoint":1}"#);
    }

    #[test]
    fn checkpoints_are_bounded() {
        let large = "x".repeat(MAX_CHECKPOINT);
        assert!(matches!(
            Note::checkpoint(&large),
            Err(CheckpointError::TooLarge { bytes }) if bytes == MAX_CHECKPOINT + 2
        ));
        assert!(Note::checkpoint(&large[2..]).is_ok());
    }
}
