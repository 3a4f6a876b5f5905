//! One pass of everything, for hosts that run a command now and then instead of a process.

use std::sync::Arc;

use serde::Serialize;

use super::steps::{Emptied, Steps};
use super::{MaintenanceConfig, MaintenanceError};

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Jobs whose time had come.
    pub promoted: u64,
    /// Jobs of cron entries.
    pub cron_jobs: u64,
    /// Workers that had died.
    pub workers_rescued: u64,
    /// Jobs that were taken from them.
    pub jobs_rescued: u64,
    /// Callbacks whose time was over.
    pub callbacks_expired: u64,
    /// Jobs that batches of operators looked at.
    pub batched: u64,
    /// Jobs that were copied or inserted into the staging table.
    pub staged: u64,
    /// Those that became dead letters instead.
    pub staged_refused: u64,
    /// A turn of the ring was begun.
    pub turn_begun: bool,
    /// Segments that were emptied.
    pub segments_emptied: u64,
    /// Somebody holds a lock on the next one.
    pub segment_held: bool,
    /// The highest segment was dropped: the ring has more than it needs.
    pub segment_dropped: bool,
    /// Ended jobs that were kept for long enough.
    pub pruned: u64,
    /// Principals of whom there was no job any more.
    pub principals_removed: u64,
}

/// Does once whatever is due. Needs no lock: what a leader does at the same time is done once.
pub async fn tick(config: MaintenanceConfig) -> Result<Report, MaintenanceError> {
    let steps = Steps::open(&Arc::new(config)).await?;
    let mut report = Report::default();
    // Before jobs are promoted, so that what comes back at once is among them.
    (report.workers_rescued, report.jobs_rescued) = steps.rescue().await?;
    if steps.has_callbacks().await? {
        report.callbacks_expired = steps.expire_callbacks().await?.0;
    }
    loop {
        let staged = steps.move_staged().await?;
        report.staged += staged.moved;
        report.staged_refused += staged.refused;
        // Those that were put off wait for somebody: the next pass goes on.
        if staged.rows() == staged.put_off {
            break;
        }
    }
    report.promoted = steps.promote().await?;
    report.cron_jobs = steps.fire_crons().await?;
    // A part that changes nothing waits for somebody: the next pass goes on.
    while let Some(jobs @ 1..) = steps.run_batch().await? {
        report.batched += jobs;
    }
    report.turn_begun = steps.rotate().await?;
    steps.close_turns().await?;
    while steps
        .due()
        .await?
        .empty
        .is_some_and(|seconds| seconds <= 0.0)
    {
        match steps.empty().await? {
            Emptied::Yes => report.segments_emptied += 1,
            Emptied::NotYet => break,
            Emptied::Held => {
                report.segment_held = true;
                break;
            }
        }
    }
    report.segment_dropped = steps.shrink().await?;
    report.pruned = steps.prune().await?;
    report.principals_removed = steps.sweep_principals_once().await?;
    Ok(report)
}
