//! Cron: which times have come is computed here, and decided in the database.

use jiff::Timestamp;
use tokio_postgres::Error;

use super::metrics;
use super::steps::Steps;
use crate::cron::{Schedule, ScheduleError, apply};

/// The name of the list that a configuration file has.
const LIST: &str = "the configuration";

/// An entry whose time has come, or whose next time has to be computed.
#[derive(Debug)]
struct DueCron {
    name: String,
    revision: i64,
    expression: String,
    time_zone: String,
    catch_up: bool,
    after: Timestamp,
    now: Timestamp,
}

/// What to do about one.
#[derive(Debug)]
struct Firing {
    times: Vec<Timestamp>,
    next: Option<Timestamp>,
    left_out: bool,
}

impl DueCron {
    fn firing(&self) -> Result<Firing, ScheduleError> {
        let schedule = Schedule::parse(&self.expression, &self.time_zone)?;
        let mut missed = schedule.missed(self.after, self.now)?;
        if !self.catch_up {
            missed.times.drain(..missed.times.len().saturating_sub(1));
        }
        let next = match schedule.next(self.now) {
            Ok(next) => Some(next),
            // Its last time; it is looked at once more.
            Err(ScheduleError::Never(_)) if !missed.times.is_empty() => None,
            Err(error) => return Err(error),
        };
        Ok(Firing {
            times: missed.times,
            next,
            left_out: self.catch_up && missed.older_left_out,
        })
    }
}

impl Steps {
    /// Applies the entries of the configuration; how many of them are refused. One that is refused is said in
    /// the log, and the others fire.
    pub(super) async fn declare_crons(&self) -> Result<u64, Error> {
        let Some(entries) = &self.config.crons else {
            return Ok(0);
        };
        let outcomes = apply(&**self.session.client, &self.config.sql, LIST, entries).await?;
        let mut refused = 0;
        for declared in outcomes {
            let (database, cron) = (self.database(), &*declared.name);
            match &*declared.outcome {
                "same" => {}
                "refused" => {
                    refused += 1;
                    let path = format!("databases.{database}.cron.{cron}");
                    let (problem, hint) = (declared.problem, declared.hint);
                    tracing::error!(database, cron, path, problem, hint, "cron_refused");
                }
                outcome => tracing::info!(database, cron, outcome, "cron_declared"),
            }
        }
        metrics::crons_refused(self.database(), refused);
        Ok(refused)
    }

    /// Fires what is due; how many jobs that made. One entry that can't be fired keeps no other from it.
    pub(super) async fn fire_crons(&self) -> Result<u64, Error> {
        let mut made = 0;
        let mut failure = None;
        for cron in self.due_crons().await? {
            match self.fire(&cron).await {
                Ok(jobs) => made += jobs,
                Err(error) if self.session.is_lost() => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(made), Err)
    }

    async fn due_crons(&self) -> Result<Vec<DueCron>, Error> {
        let sql = self.sql(
            "select name, revision, expression, time_zone, missed = 'catch_up', after, now \
             from rolegate.due_crons()",
        );
        let rows = self.session.client.query(&sql, &[]).await?;
        rows.iter()
            .map(|row| {
                Ok(DueCron {
                    name: row.try_get(0)?,
                    revision: row.try_get(1)?,
                    expression: row.try_get(2)?,
                    time_zone: row.try_get(3)?,
                    catch_up: row.try_get(4)?,
                    after: row.try_get(5)?,
                    now: row.try_get(6)?,
                })
            })
            .collect()
    }

    async fn fire(&self, cron: &DueCron) -> Result<u64, Error> {
        let firing = match cron.firing() {
            Ok(firing) => firing,
            Err(problem) => return self.reject(cron, &problem).await.map(|()| 0),
        };
        let sql = self.sql("select rolegate.fire_cron($1, $2, $3, $4)");
        let row = self
            .session
            .client
            .query_one(
                &sql,
                &[&cron.name, &cron.revision, &firing.times, &firing.next],
            )
            .await?;
        // NULL: somebody else fired or changed it.
        let Some(made) = row.try_get::<_, Option<i32>>(0)? else {
            return Ok(0);
        };
        let made = u64::from(made.unsigned_abs());
        let times = u64::try_from(firing.times.len()).unwrap_or(u64::MAX);
        metrics::cron(self.database(), "fired", made);
        metrics::cron(self.database(), "skipped", times - made);
        if firing.left_out {
            tracing::warn!(
                database = self.database(),
                cron = cron.name,
                after = %cron.after,
                "cron_times_left_out"
            );
        }
        Ok(made)
    }

    async fn reject(&self, cron: &DueCron, problem: &ScheduleError) -> Result<(), Error> {
        let sql = self.sql("select rolegate.reject_cron($1, $2, $3)");
        let reason = problem.to_string();
        self.session
            .client
            .query_one(&sql, &[&cron.name, &cron.revision, &reason])
            .await?;
        tracing::warn!(
            database = self.database(),
            cron = cron.name,
            problem = reason,
            "cron_rejected"
        );
        Ok(())
    }
}
