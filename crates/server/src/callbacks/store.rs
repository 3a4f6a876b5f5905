//! What the database says to a call.

use std::time::Duration;

use rolegate_pg::EngineSql;
use rolegate_pg::own::{OwnPool, OwnPoolError};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::call::Call;

/// How long the database may take, waiting for a connection included.
const DEADLINE: Duration = Duration::from_secs(10);

/// The functions of the receiver's login.
pub(super) struct Store {
    pool: OwnPool,
    complete: String,
    fail: String,
    heartbeat: String,
    resume: String,
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// A word of `rolegate.answer_callback`.
    pub(super) word: String,
    pub(super) job: Option<i64>,
    pub(super) state: Option<String>,
    /// What the call is to be judged by first.
    pub(super) rules: Option<String>,
    /// W3C `traceparent` of whoever enqueued the job.
    pub(super) trace: Option<String>,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("no connection")]
    Pool(#[from] OwnPoolError),
    #[error("the database refused")]
    Statement(#[from] tokio_postgres::Error),
    #[error("the database took too long")]
    Deadline,
}

impl StoreError {
    /// Whether nothing can be written: a standby, or a database that is read-only.
    pub(super) fn is_read_only(&self) -> bool {
        let Self::Statement(error) = self else {
            return false;
        };
        error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// Whether it is about a value of the call: JSON that PostgreSQL does not take.
    pub(super) fn is_about_the_call(&self) -> bool {
        let Self::Statement(error) = self else {
            return false;
        };
        error
            .code()
            .is_some_and(|code| code.code().starts_with("22") || code.code().starts_with("54"))
    }
}

impl Store {
    pub(super) fn new(pool: OwnPool, sql: &EngineSql) -> Self {
        let of = |function: &str, rules: &str, trace: &str| {
            sql.of(&format!(
                "select verdict, job, state, {rules}::text, {trace}::text from rolegate.{function}"
            ))
        };
        let judged = |name: &str| {
            let arguments = "$1, $2::text::jsonb, $3, $4::text::jsonb";
            of(&format!("callback_{name}({arguments})"), "rules", "trace")
        };
        Self {
            pool,
            complete: judged("complete"),
            fail: of("callback_fail($1, $2, $3, $4)", "null", "trace"),
            heartbeat: of(
                "callback_heartbeat($1, $2, $3::text::jsonb, $4)",
                "null",
                "null",
            ),
            resume: judged("resume"),
        }
    }

    /// Makes the call. It may have been made after an error, too: the same one once more says so.
    /// `judged` is what the callback's rules made of it.
    pub(super) async fn call(
        &self,
        id: Uuid,
        call: &Call,
        digest: Option<&[u8]>,
        judged: Option<&str>,
    ) -> Result<Verdict, StoreError> {
        let made = tokio::time::timeout(DEADLINE, self.make(id, call, digest, judged));
        made.await.map_err(|_| StoreError::Deadline)?
    }

    async fn make(
        &self,
        id: Uuid,
        call: &Call,
        digest: Option<&[u8]>,
        judged: Option<&str>,
    ) -> Result<Verdict, StoreError> {
        let client = self.pool.get().await?;
        let row = match call {
            Call::Complete { payload } => {
                let statement = client.prepare_cached(&self.complete).await?;
                client
                    .query_one(&statement, &[&id, payload, &digest, &judged])
                    .await?
            }
            Call::Resume { payload } => {
                let statement = client.prepare_cached(&self.resume).await?;
                client
                    .query_one(&statement, &[&id, payload, &digest, &judged])
                    .await?
            }
            Call::Fail { error, terminal } => {
                let statement = client.prepare_cached(&self.fail).await?;
                client
                    .query_one(&statement, &[&id, error, terminal, &digest])
                    .await?
            }
            Call::Heartbeat { timeout, progress } => {
                let statement = client.prepare_cached(&self.heartbeat).await?;
                client
                    .query_one(&statement, &[&id, timeout, progress, &digest])
                    .await?
            }
        };
        Ok(Verdict {
            word: row.try_get(0)?,
            job: row.try_get(1)?,
            state: row.try_get(2)?,
            rules: row.try_get(3)?,
            trace: row.try_get(4)?,
        })
    }
}
