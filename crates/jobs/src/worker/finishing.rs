//! Writes the ends of attempts, as many at once as there are.

use std::sync::Arc;
use std::time::Duration;

use async_channel::Receiver;

use super::Shared;
use super::running::End;
use crate::engine::Ends;
use crate::metrics;

/// Ends that are written by one statement, at most.
pub(super) const BATCH: usize = 512;
/// Statements at the same time: while one waits for the disk the next one is gathered.
pub(super) const WRITERS: usize = 2;
/// Pause after an error, doubled up to the last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Until there are no more, and all slots are gone.
pub(super) async fn run(shared: Arc<Shared>, ends: Receiver<End>) {
    while let Ok(end) = ends.recv().await {
        let mut batch = Ends::default();
        push(&mut batch, end);
        while batch.len() < BATCH
            && let Ok(end) = ends.try_recv()
        {
            push(&mut batch, end);
        }
        write(&shared, &batch).await;
        shared.open.close(batch.claims());
    }
}

fn push(batch: &mut Ends, end: End) {
    let (state, detail) = end.outcome.into_parts();
    batch.push(end.attempt, state, detail, end.over);
}

/// Tries until it works: the sign of life goes on meanwhile, so that nobody else runs the jobs again.
async fn write(shared: &Shared, batch: &Ends) {
    let mut pause = PAUSE.0;
    loop {
        let worker = shared.registration.read().await.worker;
        let started = tokio::time::Instant::now();
        match shared.engine.finish(worker, batch).await {
            Ok(refused) => {
                metrics::finished(batch.len(), started.elapsed());
                if !refused.is_empty() {
                    metrics::too_late(refused.len());
                    warn_of_surprises(shared, batch, &refused);
                }
                return;
            }
            Err(error) => {
                tracing::warn!(%error, cause = ?error, attempts = batch.len(), "finish_failed");
            }
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
