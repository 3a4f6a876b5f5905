//! Writes the ends of attempts, as many at once as there are.

use std::sync::Arc;
use std::time::Duration;

use async_channel::Receiver;

use super::Shared;
use super::running::End;
use crate::ends::Ends;
use crate::engine::EngineError;
use crate::job::Attempt;
use crate::metrics;
use crate::notes::Note;

/// Ends that are written by one statement, at most.
pub(super) const BATCH: usize = 512;
/// Statements at the same time: while one waits for the disk the next one is gathered.
pub(super) const WRITERS: usize = 2;
/// Pause after an error, doubled up to the last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Until there are no more, and all slots are gone.
pub(super) async fn run(shared: Arc<Shared>, ends: Receiver<End>) {
    let mut next = None;
    loop {
        let end = match next.take() {
            Some(end) => end,
            None => match ends.recv().await {
                Ok(end) => end,
                Err(_) => return,
            },
        };
        // Of one worker's number: see `former`.
        let worker = end.attempt.worker;
        let mut batch = Batch::default();
        batch.push(end);
        while batch.ends.len() < BATCH
            && let Ok(end) = ends.try_recv()
        {
            if end.attempt.worker != worker {
                next = Some(end);
                break;
            }
            batch.push(end);
        }
        write_notes(&shared, &batch.notes).await;
        if write(&shared, worker, &batch.ends).await.is_err() {
            write_each(&shared, worker, &batch.ends).await;
        }
        let claims = batch.ends.claims().map(|(claim, at)| (worker, claim, at));
        shared.open.close(claims);
    }
}

#[derive(Default)]
struct Batch {
    ends: Ends,
    /// Of those that come back.
    notes: Vec<(Attempt, Note)>,
}

impl Batch {
    fn push(&mut self, end: End) {
        if let Some(note) = end.note {
            self.notes.push((end.attempt, note));
        }
        self.ends
            .push(end.attempt, end.outcome.into_written(), end.over);
    }
}

/// Tries until it works: the sign of life goes on meanwhile, so that nobody else runs the jobs again.
/// An error that comes back is about what was to be written.
async fn write(shared: &Shared, worker: i64, batch: &Ends) -> Result<(), EngineError> {
    let mut pause = PAUSE.0;
    loop {
        let started = tokio::time::Instant::now();
        match shared.engine.finish(worker, batch).await {
            Ok(mut refused) => {
                refused.retain(|nth| !batch.was_committed(*nth));
                metrics::finished(batch.len(), started.elapsed());
                if !refused.is_empty() {
                    metrics::too_late(refused.len());
                    warn_of_surprises(shared, batch, &refused);
                }
                return Ok(());
            }
            Err(error) if error.is_about_the_data() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, cause = ?error, attempts = batch.len(), "finish_failed");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// What one of them says can't be stored; the others are not to suffer from it.
async fn write_each(shared: &Shared, worker: i64, batch: &Ends) {
    for mut end in batch.each() {
        if let Err(error) = write(shared, worker, &end).await {
            tracing::warn!(%error, cause = ?error, "outcome_not_storable");
            end.say_instead(&format!(
                "what the handler gave back can't be stored: {}",
                error.detail()
            ));
            if let Err(error) = write(shared, worker, &end).await {
                // The job stays open until the worker stops.
                tracing::error!(%error, cause = ?error, "attempt_not_ended");
            }
        }
    }
}

/// Before the ends are, or the next attempt would not find them.
async fn write_notes(shared: &Shared, notes: &[(Attempt, Note)]) {
    let mut pause = PAUSE.0;
    while !notes.is_empty() {
        let writing = shared.notes.writing.lock().await;
        let written = shared.note(notes).await;
        drop(writing);
        match written {
            Ok(_) => return,
            Err(error) => tracing::warn!(%error, cause = ?error, "progress_not_written"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Of those that were cancelled nobody needs to be warned.
fn warn_of_surprises(shared: &Shared, batch: &Ends, refused: &[usize]) {
    let surprises = refused
        .iter()
        .filter_map(|nth| batch.surprising(*nth))
        .filter(|place| !shared.attempts.was_heard_of(*place))
        .count();
    if surprises > 0 {
        tracing::warn!(attempts = surprises, "attempts_ended_elsewhere");
    }
}
