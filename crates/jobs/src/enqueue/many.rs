//! Many jobs of one kind at once.

use std::borrow::Cow;
use std::sync::Arc;

use rolegate_pg::EngineSql;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::GenericClient;

use super::value::{Statement, Value};
use super::{EnqueueError, JobArgs};
use crate::job::JobId;

/// Jobs of one kind and queue to be enqueued by one statement.
#[derive(Debug)]
#[must_use = "jobs are enqueued when they are sent"]
pub struct EnqueueMany {
    kind: Cow<'static, str>,
    args: Result<Vec<Box<RawValue>>, serde_json::Error>,
    options: Vec<(&'static str, Value)>,
    sql: Option<Arc<EngineSql>>,
}

impl EnqueueMany {
    /// A job for each of these arguments.
    pub fn new<'a, T: JobArgs + 'a>(args: impl IntoIterator<Item = &'a T>) -> Self {
        Self::of(T::KIND, args)
    }

    /// The same of a kind that has no type of its own.
    pub fn of<'a, T: Serialize + 'a>(
        kind: impl Into<Cow<'static, str>>,
        args: impl IntoIterator<Item = &'a T>,
    ) -> Self {
        let json = |args: &T| serde_json::value::to_raw_value(args);
        Self {
            kind: kind.into(),
            args: args.into_iter().map(json).collect(),
            options: Vec::new(),
            sql: None,
        }
    }

    /// To this queue.
    pub fn queue(self, queue: impl Into<String>) -> Self {
        self.with("queue", Value::Text(queue.into()))
    }

    /// 1 (first) to 4.
    pub fn priority(self, priority: u8) -> Self {
        self.with("priority", Value::Number(priority.into()))
    }

    /// How often each is tried.
    pub fn max_attempts(self, attempts: u16) -> Self {
        self.with("max_attempts", Value::Number(attempts.into()))
    }

    /// Where the engine's schema is called otherwise.
    pub fn schema(mut self, sql: &Arc<EngineSql>) -> Self {
        self.sql = Some(Arc::clone(sql));
        self
    }

    /// Enqueues them; their ids are in the order of the arguments.
    pub async fn send<C: GenericClient + Sync>(
        self,
        client: &C,
    ) -> Result<Vec<JobId>, EnqueueError> {
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

    pub(super) fn statement(self) -> Result<Statement, EnqueueError> {
        let mut statement = Statement::call("rolegate.enqueue_many");
        statement.argument(None, Value::Text(self.kind.into_owned()));
        statement.argument(None, Value::Jsons(self.args?));
        for (name, value) in self.options {
            statement.argument(Some(name), value);
        }
        Ok(statement.end(self.sql.as_deref()))
    }
}
