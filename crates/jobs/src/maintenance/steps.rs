//! The steps: one function of the database each, one statement each.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::session::Session;
use super::{MaintenanceConfig, MaintenanceError, metrics};

/// Rows of one transaction.
const BATCH: i32 = 1000;

/// Jobs of a batch in one transaction, which holds the locks of those it changes.
const PART: i32 = 100;

/// A session and what is to be done on it.
#[derive(Debug)]
pub(super) struct Steps {
    pub(super) session: Session,
    pub(super) config: Arc<MaintenanceConfig>,
}

/// When what has to be done, in seconds from now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) promote: Option<f64>,
    pub(super) rescue: Option<f64>,
    pub(super) cron: Option<f64>,
    pub(super) rotate: Option<f64>,
    pub(super) close: Option<f64>,
    pub(super) empty: Option<f64>,
    pub(super) prune: Option<f64>,
    pub(super) batches: Option<f64>,
    pub(super) staging: Option<f64>,
    /// The ring may not grow any more.
    pub(super) full_ring: bool,
}

/// What became of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Emptied {
    Yes,
    /// Something in it is needed.
    NotYet,
    /// Somebody holds a lock on it.
    Held,
}

impl Steps {
    pub(super) async fn open(config: &Arc<MaintenanceConfig>) -> Result<Self, MaintenanceError> {
        Ok(Self {
            session: Session::open(&config.connect).await?,
            config: Arc::clone(config),
        })
    }

    pub(super) fn database(&self) -> &str {
        &self.config.database
    }

    pub(super) fn sql(&self, sql: &str) -> String {
        self.config.sql.of(sql)
    }

    /// The term, if this session leads from now on.
    pub(super) async fn lead(&self) -> Result<Option<i64>, Error> {
        let sql = self.sql("select rolegate.lead_maintenance($1)");
        let name = &self.config.name;
        let row = self.session.client.query_one(&sql, &[name]).await?;
        row.try_get(0)
    }

    /// Whether there are callbacks in this database.
    pub(super) async fn has_callbacks(&self) -> Result<bool, Error> {
        let sql = self.sql(
            "select pg_catalog.to_regprocedure('rolegate.expire_callbacks(integer)') is not null",
        );
        self.session.client.query_one(&sql, &[]).await?.try_get(0)
    }

    /// Only looks.
    pub(super) async fn due(&self) -> Result<Due, Error> {
        let sql = self.sql(
            "select promote_in, rescue_in, cron_in, rotate_in, close_due, empty_in, prune_in, \
             turns, segments, full_ring, oldest_age, batches_in, stage_in \
             from rolegate.maintenance_due(pg_catalog.make_interval(secs => $1))",
        );
        let silence = self.config.silence.as_secs_f64();
        let row = self.session.client.query_one(&sql, &[&silence]).await?;
        metrics::ring(
            self.database(),
            row.try_get(7)?,
            row.try_get(8)?,
            row.try_get(10)?,
        );
        Ok(Due {
            promote: row.try_get(0)?,
            rescue: row.try_get(1)?,
            cron: row.try_get(2)?,
            rotate: row.try_get(3)?,
            close: row.try_get::<_, bool>(4)?.then_some(0.0),
            empty: row.try_get(5)?,
            prune: row.try_get(6)?,
            full_ring: row.try_get(9)?,
            batches: row.try_get(11)?,
            staging: row.try_get(12)?,
        })
    }

    /// Says on this session that the promoter sleeps. False: somebody is about to commit who was not
    /// asked to tell.
    pub(super) async fn announce(&self) -> Result<bool, Error> {
        let sql = self.sql("select pg_catalog.cardinality(rolegate.await_jobs('{0}')) = 1");
        self.session.client.query_one(&sql, &[]).await?.try_get(0)
    }

    /// Takes that back; the leader's lock stays.
    pub(super) async fn awake(&self) -> Result<(), Error> {
        // The key of queue 0: rolegate.queue_lock_key(0).
        let sql = "select pg_catalog.pg_advisory_unlock(x'524a51'::bigint << 40)";
        self.session.client.query_one(sql, &[]).await.map(drop)
    }

    /// Jobs whose time has come.
    pub(super) async fn promote(&self) -> Result<u64, Error> {
        let sql = self.sql("select promoted from rolegate.promote_jobs($1)");
        let mut promoted = 0;
        loop {
            let row = self.session.client.query_one(&sql, &[&BATCH]).await?;
            let now: i32 = row.try_get(0)?;
            promoted += u64::from(now.unsigned_abs());
            if now < BATCH {
                metrics::add(metrics::PROMOTED, self.database(), promoted);
                return Ok(promoted);
            }
        }
    }

    /// Workers that have died, and jobs that were taken from them.
    pub(super) async fn rescue(&self) -> Result<(u64, u64), Error> {
        let sql = self.sql(
            "select workers, jobs, held, problem \
             from rolegate.rescue_jobs(pg_catalog.make_interval(secs => $1))",
        );
        let silence = self.config.silence.as_secs_f64();
        let row = self.session.client.query_one(&sql, &[&silence]).await?;
        let workers = u64::from(row.try_get::<_, i32>(0)?.unsigned_abs());
        let jobs = u64::from(row.try_get::<_, i32>(1)?.unsigned_abs());
        metrics::add(metrics::WORKERS_RESCUED, self.database(), workers);
        metrics::add(metrics::RESCUED, self.database(), jobs);
        if workers > 0 {
            tracing::warn!(
                database = self.database(),
                workers,
                jobs,
                "job_workers_rescued"
            );
        }
        let held: i32 = row.try_get(2)?;
        if held > 0 {
            // The others were rescued; these are tried again.
            let problem: Option<&str> = row.try_get(3)?;
            metrics::step_failed(self.database(), "rescue");
            tracing::warn!(
                database = self.database(),
                workers = held,
                problem,
                "job_workers_not_rescued"
            );
        }
        Ok((workers, jobs))
    }

    /// Callbacks whose time was over, and in how many seconds the next one's is.
    pub(super) async fn expire_callbacks(&self) -> Result<(u64, Option<f64>), Error> {
        let sql = self.sql(
            "select expired, \
             extract(epoch from next_at - pg_catalog.clock_timestamp())::double precision \
             from rolegate.expire_callbacks($1)",
        );
        let row = self.session.client.query_one(&sql, &[&BATCH]).await?;
        let expired = u64::from(row.try_get::<_, i32>(0)?.unsigned_abs());
        metrics::add(metrics::CALLBACKS_EXPIRED, self.database(), expired);
        Ok((expired, row.try_get(1)?))
    }

    /// A part of the oldest batch of an operator: how many jobs it looked at; `None`: there is no batch.
    pub(super) async fn run_batch(&self) -> Result<Option<u64>, Error> {
        let sql = self.sql("select rolegate.run_batch($1)");
        let row = self.session.client.query_one(&sql, &[&PART]).await?;
        let looked: Option<i32> = row.try_get(0)?;
        let looked = looked.map(|jobs| u64::from(jobs.unsigned_abs()));
        metrics::add(metrics::BATCHED, self.database(), looked.unwrap_or(0));
        Ok(looked)
    }

    /// Whether a new turn was begun.
    pub(super) async fn rotate(&self) -> Result<bool, Error> {
        let sql = self.sql("select rolegate.rotate_jobs()");
        let rotated: bool = self.session.client.query_one(&sql, &[]).await?.try_get(0)?;
        metrics::add(metrics::ROTATIONS, self.database(), u64::from(rotated));
        Ok(rotated)
    }

    /// Notes which turns are done.
    pub(super) async fn close_turns(&self) -> Result<(), Error> {
        let sql = self.sql("select rolegate.close_turns()");
        self.session.client.query_one(&sql, &[]).await.map(drop)
    }

    /// Empties the segment of the oldest turn, if its time has come.
    pub(super) async fn empty(&self) -> Result<Emptied, Error> {
        // Two transactions: emptying waits for locks that claims have, and cursors are theirs.
        let carry = self.sql("select rolegate.carry_cursors()");
        let empty = self.sql("select rolegate.empty_segment()");
        let emptied = async {
            self.session.client.query_one(&carry, &[]).await?;
            let row = self.session.client.query_one(&empty, &[]).await?;
            row.try_get::<_, bool>(0)
        };
        match emptied.await {
            Ok(emptied) => {
                metrics::add(metrics::EMPTIED, self.database(), u64::from(emptied));
                Ok(if emptied {
                    Emptied::Yes
                } else {
                    Emptied::NotYet
                })
            }
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                metrics::add(metrics::HELD, self.database(), 1);
                Ok(Emptied::Held)
            }
            Err(error) => Err(error),
        }
    }

    /// Drops the highest segment, if the ring has more than it needs. Whether it did.
    pub(super) async fn shrink(&self) -> Result<bool, Error> {
        let sql = self.sql("select rolegate.drop_segment()");
        match self.session.client.query_one(&sql, &[]).await {
            Ok(row) => row.try_get(0),
            // Somebody has been in a transaction for long: later.
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Ended jobs whose time is over.
    pub(super) async fn prune(&self) -> Result<u64, Error> {
        let sql = self.sql("select rolegate.prune_jobs($1)");
        let mut pruned = 0;
        loop {
            let row = self.session.client.query_one(&sql, &[&BATCH]).await?;
            let now: i32 = row.try_get(0)?;
            pruned += u64::from(now.unsigned_abs());
            if now < BATCH {
                metrics::add(metrics::PRUNED, self.database(), pruned);
                return Ok(pruned);
            }
        }
    }

    /// Runs a step. `None`: it failed, and the others go on. An error if nothing can be done on this
    /// session any more.
    pub(super) async fn run<T>(
        &self,
        step: &'static str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<(T, Duration)>, Error> {
        let began = Instant::now();
        let outcome = work.await;
        let took = began.elapsed();
        metrics::step(self.database(), step, took);
        match outcome {
            Ok(value) => Ok(Some((value, took))),
            Err(error) if self.session.is_lost() => Err(error),
            Err(error) => {
                metrics::step_failed(self.database(), step);
                tracing::warn!(
                    database = self.database(),
                    step,
                    %error,
                    cause = ?error,
                    "maintenance_step_failed"
                );
                Ok(None)
            }
        }
    }
}
