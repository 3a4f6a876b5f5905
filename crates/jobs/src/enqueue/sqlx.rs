//! The same with sqlx.

use ::sqlx::postgres::{PgArguments, Postgres};
use ::sqlx::query::QueryScalar;
use ::sqlx::{AssertSqlSafe, PgExecutor};

use super::value::{Parameter, Statement};
use super::{Enqueue, EnqueueError, EnqueueMany};
use crate::job::JobId;

impl Enqueue {
    /// Enqueues it in the executor's transaction: `&mut *transaction` of sqlx, or a connection.
    pub async fn send_sqlx<'e>(self, executor: impl PgExecutor<'e>) -> Result<JobId, EnqueueError> {
        Ok(query(self.statement()?).fetch_one(executor).await?)
    }
}

impl EnqueueMany {
    /// Enqueues them in the executor's transaction.
    pub async fn send_sqlx<'e>(
        self,
        executor: impl PgExecutor<'e>,
    ) -> Result<Vec<JobId>, EnqueueError> {
        Ok(query(self.statement()?).fetch_one(executor).await?)
    }
}

/// Its text has nothing of the job in it but the names of its options.
fn query<O>(statement: Statement) -> QueryScalar<'static, Postgres, O, PgArguments>
where
    (O,): for<'r> ::sqlx::FromRow<'r, ::sqlx::postgres::PgRow>,
{
    let query = ::sqlx::query_scalar(AssertSqlSafe(statement.sql));
    statement
        .parameters
        .into_iter()
        .fold(query, |query, parameter| match parameter {
            Parameter::Text(text) => query.bind(text),
            Parameter::Texts(texts) => query.bind(texts),
            Parameter::Number(number) => query.bind(number),
            Parameter::Seconds(seconds) => query.bind(seconds),
        })
}
