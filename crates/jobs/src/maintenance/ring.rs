//! The ring's upkeep, and what may wait: on a connection of its own, so that a long look at a segment
//! makes no job late. Safe whoever does it, and however many.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_postgres::Error;

use super::depth;
use super::horizon::{self, Horizon};
use super::leader::LOOK;
use super::pace::Pace;
use super::principals_step::Swept;
use super::steps::{Due, Emptied, Steps};

/// Between two runs of a step.
const STEP: Duration = Duration::from_secs(1);
/// Between two attempts to empty what can't be emptied: each makes claims wait for a moment.
const SELDOM: Duration = Duration::from_secs(15);
/// Between two looks for what has been kept for long enough.
const PRUNE: Duration = Duration::from_mins(1);

#[derive(Debug)]
struct Ring {
    rotate: Pace,
    close: Pace,
    empty: Pace,
    prune: Pace,
    shrink: Pace,
    depth: Pace,
    /// Said already.
    full: bool,
    held: bool,
}

pub(super) async fn keep(steps: &Steps) -> Result<Infallible, Error> {
    let mut ring = Ring {
        rotate: Pace::patient(STEP, SELDOM, 2),
        close: Pace::patient(STEP, STEP, 20),
        empty: Pace::patient(STEP, SELDOM, 2),
        prune: Pace::patient(PRUNE, PRUNE, 20),
        shrink: Pace::patient(PRUNE, PRUNE, 20),
        depth: Pace::patient(depth::EVERY, depth::EVERY, 20),
        full: false,
        held: false,
    };
    let mut horizon = Horizon::default();
    let mut look_at_horizon = Instant::now();
    let mut sweep = Instant::now();
    loop {
        if look_at_horizon <= Instant::now() {
            steps.run("horizon", horizon.look(steps)).await?;
            look_at_horizon = Instant::now() + horizon::EVERY;
        }
        if sweep <= Instant::now() {
            let swept = steps.run("principals", steps.sweep_principals()).await?;
            sweep = Instant::now() + Swept::pause(swept.map(|(swept, _)| swept));
        }
        if ring.shrink.is_due(Some(0.0)) {
            let shrunk = steps.run("shrink", steps.shrink()).await?;
            note(&mut ring.shrink, shrunk.map(|(_, took)| (true, took)));
        }
        if ring.depth.is_due(Some(0.0)) {
            let looked = steps.run("depth", depth::look(steps)).await?;
            note(&mut ring.depth, looked.map(|((), took)| (true, took)));
        }
        let due = steps.due().await?;
        if due.full_ring && !ring.full {
            tracing::warn!(database = steps.database(), "job_ring_full");
        }
        ring.full = due.full_ring;
        if !ring.run(steps, &due).await? {
            sleep_until(ring.next(&due)).await;
        }
    }
}

impl Ring {
    fn next(&self, due: &Due) -> Instant {
        [
            self.rotate.at(due.rotate),
            self.close.at(due.close),
            self.empty.at(due.empty),
            self.prune.at(due.prune),
        ]
        .into_iter()
        .flatten()
        .fold(Instant::now() + LOOK, Instant::min)
    }

    /// Whether anything was due.
    async fn run(&mut self, steps: &Steps, due: &Due) -> Result<bool, Error> {
        let mut ran = false;
        if self.rotate.is_due(due.rotate) {
            ran = true;
            let rotated = steps.run("rotate", steps.rotate()).await?;
            note(&mut self.rotate, rotated);
        }
        if self.close.is_due(due.close) {
            ran = true;
            let closed = steps.run("close", steps.close_turns()).await?;
            note(&mut self.close, closed.map(|((), took)| (true, took)));
        }
        if self.empty.is_due(due.empty) {
            ran = true;
            let emptied = steps.run("empty", steps.empty()).await?;
            let held = matches!(emptied, Some((Emptied::Held, _)));
            if held && !self.held {
                tracing::info!(database = steps.database(), "job_segment_held");
            }
            self.held = held;
            note(
                &mut self.empty,
                emptied.map(|(emptied, took)| (emptied == Emptied::Yes, took)),
            );
        }
        if self.prune.is_due(due.prune) {
            ran = true;
            let pruned = steps.run("prune", steps.prune()).await?;
            note(&mut self.prune, pruned.map(|(_, took)| (true, took)));
        }
        Ok(ran)
    }
}

/// `None`: it failed.
fn note(pace: &mut Pace, did: Option<(bool, Duration)>) {
    match did {
        Some((true, took)) => pace.did(took),
        Some((false, took)) => pace.did_nothing(took),
        None => pace.did_nothing(Duration::ZERO),
    }
}
