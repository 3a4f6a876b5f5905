//! Completing an attempt in the transaction in which its handler wrote its own rows.

use serde::Serialize;
use tokio_postgres::GenericClient;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::engine::EngineError;
use crate::handler::Context;

/// Why an attempt was not completed in a transaction. The transaction has failed, or is to be rolled
/// back.
#[derive(Debug, thiserror::Error)]
pub enum CompletionError {
    /// It has ended: its job was cancelled, or is another worker's.
    #[error("the attempt has ended already: roll back")]
    Over,
    /// The output can't be written as JSON.
    #[error("the output is no JSON")]
    Json(#[from] serde_json::Error),
    /// The worker could not ask for what it takes.
    #[error("the attempt's token is not to be had")]
    Engine(#[from] EngineError),
    /// PostgreSQL refused.
    #[error("the attempt was not completed")]
    Postgres(#[source] tokio_postgres::Error),
    /// The same, from the other driver.
    #[cfg(feature = "sqlx")]
    #[error("the attempt was not completed")]
    Sqlx(#[source] sqlx::Error),
}

impl Context {
    /// Completes this attempt in a transaction of the handler's own, under any login that may
    /// enqueue: what was written in it and the end of the attempt are committed together. The last
    /// statement of the transaction; commit then, and give back
    /// [`Outcome::Committed`](crate::Outcome::Committed).
    ///
    /// If the attempt has ended meanwhile this fails, and so does the transaction. Whatever fails:
    /// roll back, and give back another outcome, such as
    /// [`Outcome::retry`](crate::Outcome::retry). If it was committed all the
    /// same, that has no effect.
    pub async fn complete_in<C, T>(
        &self,
        transaction: &C,
        output: &T,
    ) -> Result<(), CompletionError>
    where
        C: GenericClient + Sync,
        T: Serialize + ?Sized + Sync,
    {
        let (token, output) = self.token(output).await?;
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&token, Type::TEXT), (&output, Type::TEXT)];
        transaction
            .query_typed_one(self.engine.complete(), &parameters)
            .await
            .map(|_| ())
            .map_err(|error| {
                if error.code() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) {
                    CompletionError::Over
                } else {
                    CompletionError::Postgres(error)
                }
            })
    }

    /// The same with sqlx.
    #[cfg(feature = "sqlx")]
    pub async fn complete_in_sqlx<T>(
        &self,
        transaction: &mut sqlx::PgTransaction<'_>,
        output: &T,
    ) -> Result<(), CompletionError>
    where
        T: Serialize + ?Sized + Sync,
    {
        let (token, output) = self.token(output).await?;
        let sql = sqlx::AssertSqlSafe(self.engine.complete().to_owned());
        let completed = sqlx::query(sql)
            .bind(token)
            .bind(output)
            .execute(&mut **transaction)
            .await;
        completed.map(|_| ()).map_err(|error| {
            let code = error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code);
            if code.as_deref() == Some(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE.code()) {
                CompletionError::Over
            } else {
                CompletionError::Sqlx(error)
            }
        })
    }

    async fn token<T>(&self, output: &T) -> Result<(String, String), CompletionError>
    where
        T: Serialize + ?Sized + Sync,
    {
        let output = serde_json::to_string(output)?;
        let token = self.engine.completion(self.attempt).await?;
        Ok((token.ok_or(CompletionError::Over)?, output))
    }
}
