//! Enqueueing from Rust, in the caller's own transaction.

mod copy;
pub(crate) mod follow_up;
mod many;
#[cfg(feature = "sqlx")]
mod sqlx;
mod value;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rolegate_pg::EngineSql;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::GenericClient;

use crate::job::JobId;
pub use copy::EnqueueCopy;
pub use many::EnqueueMany;
use value::{Statement, Value};

/// The arguments of one kind of job.
pub trait JobArgs: Serialize {
    /// The kind.
    const KIND: &'static str;
}

/// Why a job was not enqueued.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// What was given can't be written as JSON.
    #[error("the job's arguments or metadata are no JSON")]
    Json(#[from] serde_json::Error),
    /// What is unique by its parts is enqueued by a statement of its own, and not copied or as a follow-up.
    #[error("unique_by needs a statement of its own; here a job has a unique_key or none")]
    UniqueBy,
    /// PostgreSQL refused; the caller's transaction has failed.
    #[error("the job was not enqueued")]
    Postgres(#[from] tokio_postgres::Error),
    /// The same, from the other driver.
    #[cfg(feature = "sqlx")]
    #[error("the job was not enqueued")]
    Sqlx(#[from] ::sqlx::Error),
}

impl EnqueueError {
    /// Another job has its unique key.
    pub fn is_duplicate(&self) -> bool {
        match self {
            Self::Json(_) | Self::UniqueBy => false,
            Self::Postgres(error) => {
                error.code() == Some(&tokio_postgres::error::SqlState::UNIQUE_VIOLATION)
            }
            #[cfg(feature = "sqlx")]
            Self::Sqlx(error) => error
                .as_database_error()
                .is_some_and(::sqlx::error::DatabaseError::is_unique_violation),
        }
    }
}

/// A job to be enqueued. What is not said is as `rolegate.enqueue` has it.
#[derive(Debug)]
#[must_use = "a job is enqueued when it is sent"]
pub struct Enqueue {
    kind: Cow<'static, str>,
    args: Result<Box<RawValue>, serde_json::Error>,
    options: Vec<(&'static str, Value)>,
    metadata: Result<(), serde_json::Error>,
    unique_by: Option<UniqueBy>,
    sql: Option<Arc<EngineSql>>,
}

/// What makes two jobs of a kind the same one: those of these that are said.
#[derive(Debug, Clone, Copy, Default)]
pub struct UniqueBy {
    args: bool,
    queue: bool,
    period: Option<Duration>,
}

impl UniqueBy {
    /// The kind alone.
    pub fn kind() -> Self {
        Self::default()
    }

    /// The same arguments, too.
    #[must_use]
    pub fn args(self) -> Self {
        Self { args: true, ..self }
    }

    /// In the same queue, too.
    #[must_use]
    pub fn queue(self) -> Self {
        Self {
            queue: true,
            ..self
        }
    }

    /// In the same period, too. Periods follow one another from 1970 on, in UTC. With
    /// [`Enqueue::unique_for`] as long as the period there is no second one in it after the first has ended, either.
    #[must_use]
    pub fn period(self, period: Duration) -> Self {
        Self {
            period: Some(period),
            ..self
        }
    }
}

impl Enqueue {
    /// A job with these arguments.
    pub fn new<T: JobArgs>(args: &T) -> Self {
        Self::of(T::KIND, args)
    }

    /// A job of a kind that has no type of its own, such as a SQL function.
    pub fn of<T: Serialize + ?Sized>(kind: impl Into<Cow<'static, str>>, args: &T) -> Self {
        Self {
            kind: kind.into(),
            args: serde_json::value::to_raw_value(args),
            options: Vec::new(),
            metadata: Ok(()),
            unique_by: None,
            sql: None,
        }
    }

    /// To this queue.
    pub fn queue(self, queue: impl Into<String>) -> Self {
        self.with("queue", Value::Text(queue.into()))
    }

    /// Not before this time.
    pub fn run_at(self, time: SystemTime) -> Self {
        let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = match since(time) {
            Ok(after) => after.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        };
        self.with("run_at", Value::Time(seconds))
    }

    /// Not before this time has passed, by the database's clock.
    pub fn run_after(self, time: Duration) -> Self {
        self.with("run_at", Value::After(time.as_secs_f64()))
    }

    /// 1 (first) to 4.
    pub fn priority(self, priority: u8) -> Self {
        self.with("priority", Value::Number(priority.into()))
    }

    /// How often it is tried.
    pub fn max_attempts(self, attempts: u16) -> Self {
        self.with("max_attempts", Value::Number(attempts.into()))
    }

    /// No other job of its kind with this key until it has ended: an error that
    /// [`EnqueueError::is_duplicate`] says, or see [`Self::or_existing`].
    pub fn unique_key(self, key: impl Into<String>) -> Self {
        self.with("unique_key", Value::Text(key.into()))
    }

    /// No other job of its kind that is the same in these parts until it has ended: as [`Self::unique_key`] with
    /// what `rolegate.unique_key` makes of them. Only for jobs that are enqueued by a statement of their own.
    pub fn unique_by(mut self, parts: UniqueBy) -> Self {
        self.unique_by = Some(parts);
        self
    }

    /// If another job has the unique key, that one's id instead of an error.
    pub fn or_existing(self) -> Self {
        self.with("on_conflict", Value::Text("existing".to_owned()))
    }

    /// If another job has the unique key and still waits for its time, it gets these contents and this time,
    /// and its id is given; else it is an error.
    pub fn or_replace(self) -> Self {
        self.with("on_conflict", Value::Text("replace".to_owned()))
    }

    /// The unique key is not free before this time, even if the job ends earlier.
    pub fn unique_for(self, time: Duration) -> Self {
        self.with("unique_for", Value::Interval(time.as_secs_f64()))
    }

    /// Jobs of a queue with the same key run one after another, in their order.
    pub fn ordering_key(self, key: impl Into<String>) -> Self {
        self.with("ordering_key", Value::Text(key.into()))
    }

    /// Jobs of a queue with the same key share its limits for each key.
    pub fn limit_key(self, key: impl Into<String>) -> Self {
        self.with("limit_key", Value::Text(key.into()))
    }

    /// How long an attempt may take.
    pub fn deadline(self, time: Duration) -> Self {
        self.with("deadline", Value::Interval(time.as_secs_f64()))
    }

    /// How long it waits after its first attempt that failed; doubled with each, a quarter of it by chance.
    /// Otherwise what its kind or its queue says.
    pub fn backoff(self, time: Duration) -> Self {
        self.with("backoff", Value::Interval(time.as_secs_f64()))
    }

    /// The longest it waits for that reason.
    pub fn max_backoff(self, time: Duration) -> Self {
        self.with("max_backoff", Value::Interval(time.as_secs_f64()))
    }

    /// Words to find it by.
    pub fn tags<I: Into<String>>(self, tags: impl IntoIterator<Item = I>) -> Self {
        let tags = tags.into_iter().map(Into::into).collect();
        self.with("tags", Value::Texts(tags))
    }

    /// Whatever is to be kept with it.
    pub fn metadata<T: Serialize + ?Sized>(mut self, metadata: &T) -> Self {
        match serde_json::value::to_raw_value(metadata) {
            Ok(json) => self.with("metadata", Value::Json(json)),
            Err(error) => {
                self.metadata = Err(error);
                self
            }
        }
    }

    /// W3C `traceparent` of what it is enqueued by.
    pub fn trace(self, traceparent: impl Into<String>) -> Self {
        self.with("trace", Value::Text(traceparent.into()))
    }

    /// Where the engine's schema is called otherwise.
    pub fn schema(mut self, sql: &Arc<EngineSql>) -> Self {
        self.sql = Some(Arc::clone(sql));
        self
    }

    /// Enqueues it in the client's transaction, or in one of its own if there is none. One round trip.
    pub async fn send<C: GenericClient + Sync>(self, client: &C) -> Result<JobId, EnqueueError> {
        let statement = self.statement()?;
        let row = client
            .query_typed_one(&statement.sql, &statement.typed())
            .await?;
        Ok(row.try_get(0)?)
    }

    fn with(mut self, name: &'static str, value: Value) -> Self {
        self.options.retain(|(other, _)| *other != name);
        self.options.push((name, value));
        self
    }

    fn statement(self) -> Result<Statement, EnqueueError> {
        self.metadata?;
        let args = self.args?;
        let mut options = self.options;
        let mut unique_by = None;
        if let Some(by) = self.unique_by {
            let queue = options.iter().find_map(|(name, value)| match value {
                Value::Text(queue) if *name == "queue" => Some(&**queue),
                _ => None,
            });
            // Where nothing is said, it is that one.
            let queue = by.queue.then(|| queue.unwrap_or("default"));
            let parts = serde_json::to_string(&serde_json::json!({
                "kind": self.kind, "queue": queue,
                "period": by.period.map(|period| period.as_secs_f64()),
            }))?;
            // Numbers of the arguments are not touched.
            let parts = match (by.args, parts.strip_suffix('}')) {
                (true, Some(open)) => format!("{open},\"args\":{}}}", args.get()),
                _ => parts,
            };
            options.retain(|(name, _)| *name != "unique_key");
            unique_by = Some(parts);
        }
        let mut statement = Statement::call("rolegate.enqueue");
        statement.argument(None, Value::Text(self.kind.into_owned()));
        statement.argument(None, Value::Json(args));
        for (name, value) in options {
            statement.argument(Some(name), value);
        }
        if let Some(parts) = unique_by {
            statement.unique_by(parts);
        }
        Ok(statement.end(self.sql.as_deref()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_said_is_sent() {
        let statement = Enqueue::of("k", &1).statement().unwrap();
        assert_eq!(
            statement.sql,
            "select rolegate.enqueue($1::pg_catalog.text, \
             $2::pg_catalog.text::pg_catalog.jsonb)"
        );
        let acme = EngineSql::new("acme");
        let statement = Enqueue::of("k", &1)
            .priority(3)
            .run_after(Duration::from_secs(1))
            .priority(4)
            .schema(&acme)
            .statement()
            .unwrap();
        assert_eq!(
            statement.sql,
            "select \"acme\".enqueue($1::pg_catalog.text, \
             $2::pg_catalog.text::pg_catalog.jsonb, \
             run_at => pg_catalog.clock_timestamp() + \
             pg_catalog.make_interval(secs => $3::pg_catalog.float8), \
             priority => $4::pg_catalog.int4)"
        );
    }

    #[test]
    fn what_is_no_json_is_an_error_and_not_a_job() {
        let keys = std::collections::BTreeMap::from([(vec![1], 1)]);
        assert!(matches!(
            Enqueue::of("k", &keys).statement(),
            Err(EnqueueError::Json(_))
        ));
        assert!(matches!(
            Enqueue::of("k", &1).metadata(&keys).statement(),
            Err(EnqueueError::Json(_))
        ));
    }
}
