//! Entries that a program or a configuration file declares, as one list.

use jiff::Timestamp;
use rolegate_pg::EngineSql;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::GenericClient;

use super::{Schedule, ScheduleError};

/// Jobs by the clock, as they are declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CronEntry {
    name: String,
    expression: String,
    kind: String,
    run_as: String,
    time_zone: String,
    args: Value,
    queue: String,
    priority: u8,
    max_attempts: u16,
    missed: Missed,
    only_one: bool,
}

/// What happens to times that passed while nobody led.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Missed {
    Coalesce,
    CatchUp,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// `made`, `changed`, `same`, `removed` (it is not in the list any more), or `refused`.
    pub outcome: String,
    /// Why it was refused; it does not fire.
    pub problem: Option<String>,
    /// What to do about that.
    pub hint: Option<String>,
}

/// Why a list was not applied. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    /// An entry whose times can't be computed.
    #[error("the cron entry {name:?}")]
    Schedule {
        /// Its name.
        name: String,
        /// What is wrong.
        #[source]
        problem: ScheduleError,
    },
    /// PostgreSQL refused.
    #[error("the cron entries were not declared")]
    Postgres(#[from] tokio_postgres::Error),
}

impl CronEntry {
    /// A job of this kind whenever the expression says so, in UTC, without arguments, as this role: an
    /// operator allows it (`rolegate cron allow`).
    pub fn new(
        name: impl Into<String>,
        expression: impl Into<String>,
        kind: impl Into<String>,
        run_as: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            expression: expression.into(),
            kind: kind.into(),
            run_as: run_as.into(),
            time_zone: "UTC".to_owned(),
            args: Value::Object(serde_json::Map::new()),
            queue: "default".to_owned(),
            priority: 2,
            max_attempts: 25,
            missed: Missed::Coalesce,
            only_one: false,
        }
    }

    /// The expression is meant in this time zone, by its IANA name.
    #[must_use]
    pub fn time_zone(self, zone: impl Into<String>) -> Self {
        let time_zone = zone.into();
        Self { time_zone, ..self }
    }

    /// Arguments of its jobs.
    #[must_use]
    pub fn args(self, args: Value) -> Self {
        Self { args, ..self }
    }

    /// Queue of its jobs.
    #[must_use]
    pub fn queue(self, queue: impl Into<String>) -> Self {
        let queue = queue.into();
        Self { queue, ..self }
    }

    /// Priority of its jobs: 1 (first) to 4.
    #[must_use]
    pub fn priority(self, priority: u8) -> Self {
        Self { priority, ..self }
    }

    /// How often a job of it is tried.
    #[must_use]
    pub fn max_attempts(self, attempts: u16) -> Self {
        let max_attempts = attempts;
        Self {
            max_attempts,
            ..self
        }
    }

    /// All times that passed while nobody led fire, at most the last 1,000; otherwise the last one.
    #[must_use]
    pub fn catch_up(self) -> Self {
        let missed = Missed::CatchUp;
        Self { missed, ..self }
    }

    /// It makes no job while the one before has not ended.
    #[must_use]
    pub fn only_one(self) -> Self {
        let only_one = true;
        Self { only_one, ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its expression and time zone can be read, and name a time after `now`.
    pub fn check(&self, now: Timestamp) -> Result<(), ScheduleError> {
        let schedule = Schedule::parse(&self.expression, &self.time_zone)?;
        schedule.next(now).map(drop)
    }
}

/// Makes the entries of a list what is said here, in one statement and in the client's transaction: those of
/// the same list that are not among them are removed, all others stay as they are. A program calls it when
/// it starts. `client` is logged in as the worker, as the maintenance, or as an operator; lists of one name of
/// two logins are two lists.
pub async fn declare<C: GenericClient + Sync>(
    client: &C,
    sql: &EngineSql,
    list: &str,
    entries: &[CronEntry],
) -> Result<Vec<Declared>, DeclareError> {
    let now = rolegate_model::Clock::now(&rolegate_model::SystemClock);
    for entry in entries {
        entry.check(now).map_err(|problem| DeclareError::Schedule {
            name: entry.name.clone(),
            problem,
        })?;
    }
    Ok(apply(client, sql, list, entries).await?)
}

/// The same without a look at the expressions: what is wrong with one is found when it is to fire.
pub(crate) async fn apply<C: GenericClient + Sync>(
    client: &C,
    sql: &EngineSql,
    list: &str,
    entries: &[CronEntry],
) -> Result<Vec<Declared>, tokio_postgres::Error> {
    let sql = sql.of("select name, outcome, problem, hint from rolegate.declare_crons($1, $2)");
    let entries = tokio_postgres::types::Json(entries);
    let rows = client.query(&sql, &[&list, &entries]).await?;
    rows.iter()
        .map(|row| {
            Ok(Declared {
                name: row.try_get(0)?,
                outcome: row.try_get(1)?,
                problem: row.try_get(2)?,
                hint: row.try_get(3)?,
            })
        })
        .collect()
}
