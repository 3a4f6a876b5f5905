//! Writes what handlers noted, of all of them together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::engine::EngineError;
use crate::job::Attempt;
use crate::notes::Note;

/// Between two writes.
const EVERY: Duration = Duration::from_secs(1);
/// Attempts of one write, at most.
const BATCH: usize = 256;

/// Until stopped. Sleeps while nobody notes anything.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = shared.notes.some() => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = shared.write_notes().await {
            tracing::warn!(%error, cause = ?error, "progress_not_written");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

impl Shared {
    /// Writes what is not written yet. Handlers whose attempts have ended are told.
    async fn write_notes(&self) -> Result<(), EngineError> {
        let _writing = self.notes.writing.lock().await;
        let notes = self.notes.take();
        for (nth, batch) in notes.chunks(BATCH).enumerate() {
            let refused = match self.note(batch).await {
                Ok(refused) => refused,
                Err(error) => {
                    self.notes
                        .not_written(notes.get(nth * BATCH..).unwrap_or_default());
                    return Err(error);
                }
            };
            self.notes.settled(batch);
            for (attempt, _) in refused.into_iter().filter_map(|nth| batch.get(nth)) {
                self.attempts.end(*attempt);
                // Of a handler that went on after its end nothing more is to be kept.
                self.notes.end(*attempt);
            }
        }
        Ok(())
    }

    /// The positions of those that were refused.
    pub(super) async fn note(&self, notes: &[(Attempt, Note)]) -> Result<Vec<usize>, EngineError> {
        let mut refused = Vec::new();
        let workers: BTreeSet<i64> = notes.iter().map(|(attempt, _)| attempt.worker).collect();
        for worker in workers {
            let (nths, of_worker): (Vec<usize>, Vec<_>) = notes
                .iter()
                .enumerate()
                .filter(|(_, (attempt, _))| attempt.worker == worker)
                .unzip();
            let found = self.note_as(worker, &of_worker).await?;
            refused.extend(found.into_iter().filter_map(|nth| nths.get(nth)));
        }
        Ok(refused)
    }

    /// What can't be stored is left out: the others are not to suffer from it.
    async fn note_as(
        &self,
        worker: i64,
        notes: &[&(Attempt, Note)],
    ) -> Result<Vec<usize>, EngineError> {
        match self.engine.note(worker, notes).await {
            Err(error) if error.is_about_the_data() => {
                if notes.len() == 1 {
                    tracing::warn!(%error, cause = ?error, "progress_not_storable");
                    return Ok(Vec::new());
                }
            }
            done => return done,
        }
        let mut refused = Vec::new();
        for (nth, note) in notes.iter().enumerate() {
            match self.engine.note(worker, std::slice::from_ref(note)).await {
                Ok(none) if none.is_empty() => {}
                Ok(_) => refused.push(nth),
                Err(error) if error.is_about_the_data() => {
                    tracing::warn!(%error, cause = ?error, "progress_not_storable");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }
}
