//! Connecting to a test database.

use std::sync::PoisonError;

use tokio_postgres::Client;

use super::{TestDatabase, connect};

impl TestDatabase {
    /// A connection that is logged in as `login`, one of the engine's logins or a role of
    /// [`create_role`](Self::create_role).
    pub async fn connect_as(&self, login: &str) -> Client {
        self.try_connect_as(login)
            .await
            .unwrap_or_else(|error| panic!("connecting as {login} on {}: {error:?}", self.version))
    }

    /// The same, for tests that expect a refusal.
    pub async fn try_connect_as(&self, login: &str) -> Result<Client, tokio_postgres::Error> {
        let (client, task) = connect(&self.config(login)).await?;
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(task);
        Ok(client)
    }

    /// A superuser in this database. A test that uses it for more than setting the stage says why.
    pub async fn superuser(&self) -> Client {
        self.connect_as("postgres").await
    }

    /// Ends what [`connect_as`](Self::connect_as) started: a client without its connection gets
    /// an error from its next statement.
    pub(super) async fn end_connections(&self) {
        let tasks = std::mem::take(
            &mut *self
                .connections
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for task in tasks {
            task.abort();
            // Aborted, or ended before: both are what we want.
            let _ = task.await;
        }
    }
}
