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
    while let Ok((attempt, outcome)) = ends.recv().await {
        let mut batch = Ends::default();
        let (state, detail) = outcome.into_parts();
        batch.push(attempt, state, detail);
        while batch.len() < BATCH
            && let Ok((attempt, outcome)) = ends.try_recv()
        {
            let (state, detail) = outcome.into_parts();
            batch.push(attempt, state, detail);
        }
        write(&shared, &batch).await;
        shared.open.close(batch.claims());
    }
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
                    tracing::warn!(attempts = refused.len(), "attempts_ended_elsewhere");
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
