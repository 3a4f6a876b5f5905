//! Becoming the leader, and what has to be on time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_postgres::Error;
use tokio_util::sync::CancellationToken;

use super::foreign::Foreign;
use super::pace::Pace;
use super::steps::{Due, Steps};
use super::{MaintenanceConfig, MaintenanceError, metrics, ring, session};

/// Between two looks when nothing is known to come; also what keeps the session from being silent.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// Between two attempts to lead. To wait inside the database would hold a snapshot.
const STAND_BY: Duration = Duration::from_secs(2);
/// After a wake-up, so that producers that commit one after another don't each send one.
const REST: Duration = Duration::from_millis(20);
/// Between two attempts to say that the promoter sleeps.
const SHORT_NAP: Duration = Duration::from_millis(50);
const LONG_NAP: Duration = Duration::from_secs(1);
/// Between two connections.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Stands by, leads when nobody else does, connects again when the connection is lost; until `stop`.
pub async fn run(config: MaintenanceConfig, stop: CancellationToken) {
    metrics::describe();
    let config = Arc::new(config);
    let mut pause = FIRST_PAUSE;
    loop {
        metrics::leads(&config.database, false);
        let began = Instant::now();
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            ended = stand_by_and_lead(&config) => ended,
        };
        let Err(error) = ended;
        tracing::warn!(database = &*config.database, %error, cause = ?error, "maintenance_lost");
        pause = if began.elapsed() > LONGEST_PAUSE {
            FIRST_PAUSE
        } else {
            (pause * 2).min(LONGEST_PAUSE)
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = sleep(pause) => {}
        }
    }
    metrics::leads(&config.database, false);
}

async fn stand_by_and_lead(
    config: &Arc<MaintenanceConfig>,
) -> Result<Infallible, MaintenanceError> {
    let steps = Steps::open(config).await?;
    let mut foreign = Foreign::default();
    let term = loop {
        if let Some(term) = steps.lead().await? {
            break term;
        }
        foreign.look(&steps).await?;
        sleep(STAND_BY).await;
    };
    let for_ring = Steps::open(config).await?;
    metrics::leads(&config.database, true);
    tracing::info!(
        database = &*config.database,
        name = config.name,
        term,
        "maintenance_leads"
    );
    steps.run("declare", steps.declare_crons()).await?;
    let woken = Arc::new(Notify::new());
    // One task: when one of them ends, so do the others.
    let (never, ..) = tokio::try_join!(
        async { Ok::<_, MaintenanceError>(on_time(&steps, &woken).await?) },
        async { Ok(ring::keep(&for_ring).await?) },
        async { Ok(session::hear(&config.connect, Arc::clone(&woken)).await?) },
    )?;
    Ok(never)
}

/// The steps that have to be on time.
#[derive(Debug)]
struct Timely {
    promote: Pace,
    rescue: Pace,
    cron: Pace,
    batches: Pace,
    staging: Pace,
    /// When callbacks are looked at next; `None`: this database has none.
    callbacks: Option<Instant>,
}

async fn on_time(steps: &Steps, woken: &Notify) -> Result<Infallible, Error> {
    let mut timely = Timely {
        promote: Pace::prompt(Duration::from_secs(1)),
        rescue: Pace::prompt(Duration::from_secs(10)),
        cron: Pace::prompt(Duration::from_secs(10)),
        batches: Pace::prompt(Duration::from_secs(10)),
        staging: Pace::prompt(Duration::from_secs(1)),
        callbacks: steps.has_callbacks().await?.then(Instant::now),
    };
    let mut announced = false;
    let mut nap = SHORT_NAP;
    loop {
        timely.look_at_callbacks(steps).await?;
        let due = steps.due().await?;
        if timely.is_due(&due) {
            // What is committed while we work is found when we look again.
            if announced {
                steps.awake().await?;
                announced = false;
            }
            timely.run(steps, &due).await?;
            continue;
        }
        let mut until = timely.next(&due);
        if !announced {
            announced = steps.announce().await?;
            if announced {
                // Look again: it may have been committed before that was said.
                nap = SHORT_NAP;
                continue;
            }
            until = until.min(Instant::now() + nap);
            nap = (nap * 2).min(LONG_NAP);
        }
        tokio::select! {
            () = sleep_until(until) => {}
            () = woken.notified() => {
                if announced {
                    steps.awake().await?;
                    announced = false;
                }
                sleep(REST).await;
            }
        }
    }
}

impl Timely {
    fn is_due(&self, due: &Due) -> bool {
        self.promote.is_due(due.promote)
            || self.rescue.is_due(due.rescue)
            || self.cron.is_due(due.cron)
            || self.batches.is_due(due.batches)
            || self.staging.is_due(due.staging)
    }

    fn next(&self, due: &Due) -> Instant {
        [
            self.promote.at(due.promote),
            self.rescue.at(due.rescue),
            self.cron.at(due.cron),
            self.batches.at(due.batches),
            self.staging.at(due.staging),
            self.callbacks,
        ]
        .into_iter()
        .flatten()
        .fold(Instant::now() + LOOK, Instant::min)
    }

    async fn run(&mut self, steps: &Steps, due: &Due) -> Result<(), Error> {
        if self.promote.is_due(due.promote) {
            let promoted = steps.run("promote", steps.promote()).await?;
            note(&mut self.promote, promoted.map(|(jobs, _)| jobs));
        }
        if self.rescue.is_due(due.rescue) {
            let rescued = steps.run("rescue", steps.rescue()).await?;
            note(&mut self.rescue, rescued.map(|((workers, _), _)| workers));
        }
        if self.cron.is_due(due.cron) {
            let fired = steps.run("cron", steps.fire_crons()).await?;
            // Next times that were computed count, too: failures alone come less often.
            note(&mut self.cron, fired.map(|_| 1));
        }
        // A part of one, so that the others are on time.
        if self.batches.is_due(due.batches) {
            let looked = steps.run("batch", steps.run_batch()).await?;
            note(&mut self.batches, looked.and_then(|(jobs, _)| jobs));
        }
        if self.staging.is_due(due.staging) {
            let moved = steps.run("staging", steps.move_staged()).await?;
            note(&mut self.staging, moved.map(|(staged, _)| staged.rows()));
        }
        Ok(())
    }

    async fn look_at_callbacks(&mut self, steps: &Steps) -> Result<(), Error> {
        if self.callbacks.is_none_or(|at| at > Instant::now()) {
            return Ok(());
        }
        let expired = steps.run("callbacks", steps.expire_callbacks()).await?;
        let seconds = expired.and_then(|((_, next), _)| next);
        let next = seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.05)).ok())
            .map_or(LOOK, |next| next.min(LOOK));
        self.callbacks = Some(Instant::now() + next);
        Ok(())
    }
}

/// `None`: it failed.
fn note(pace: &mut Pace, did: Option<u64>) {
    if did.is_some_and(|number| number > 0) {
        pace.did(Duration::ZERO);
    } else {
        pace.did_nothing(Duration::ZERO);
    }
}
