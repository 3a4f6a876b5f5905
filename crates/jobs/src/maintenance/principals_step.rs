//! Principals of whom there is no job any more.

use std::time::Duration;

use tokio_postgres::Error;

use super::metrics;
use super::steps::Steps;

/// So long they are kept in any case.
const AGE: Duration = Duration::from_hours(24);
/// Principals of one transaction.
const MOST: i32 = 10_000;
/// Between two looks; most only see that the ring has no new turn.
const EVERY: Duration = Duration::from_mins(10);
/// Between two steps that belong together.
const SOON: Duration = Duration::from_secs(5);
/// Retired, nobody is left who saw them, removed.
const STEPS: usize = 3;

/// What a step did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Swept {
    removed: u64,
    again: bool,
}

impl Swept {
    /// When the next one is; `None`: this one failed.
    pub(super) fn pause(swept: Option<Self>) -> Duration {
        match swept {
            Some(Self { again: true, .. }) => SOON,
            _ => EVERY,
        }
    }
}

impl Steps {
    pub(super) async fn sweep_principals(&self) -> Result<Swept, Error> {
        let sql = self.sql(
            "select removed, again \
             from rolegate.sweep_principals(pg_catalog.make_interval(secs => $1), $2)",
        );
        let row = self
            .session
            .client
            .query_one(&sql, &[&AGE.as_secs_f64(), &MOST])
            .await?;
        let removed = u64::from(row.try_get::<_, i32>(0)?.unsigned_abs());
        metrics::add(metrics::PRINCIPALS_REMOVED, self.database(), removed);
        Ok(Swept {
            removed,
            again: row.try_get(1)?,
        })
    }

    /// All steps, as far as nobody has to be waited for. How many were removed.
    pub(super) async fn sweep_principals_once(&self) -> Result<u64, Error> {
        let mut removed = 0;
        for _ in 0..STEPS {
            let swept = self.sweep_principals().await?;
            removed += swept.removed;
            if !swept.again {
                break;
            }
        }
        Ok(removed)
    }
}
