//! Taking a test database and its roles away.

use std::sync::PoisonError;

use rolegate_pg::cluster::SocketEndpoint;
use rolegate_pg::quote;

use super::{TestDatabase, connect};

/// What is to be removed, independent of the [`TestDatabase`], so that a thread can own it.
#[derive(Debug)]
pub(super) struct Removal {
    endpoint: SocketEndpoint,
    database: String,
    roles: Vec<String>,
}

impl TestDatabase {
    pub(super) fn removal(&self) -> Removal {
        let roles = std::mem::take(&mut *self.roles.lock().unwrap_or_else(PoisonError::into_inner));
        Removal {
            endpoint: self.endpoint(),
            database: self.name.clone(),
            roles,
        }
    }
}

impl Removal {
    pub(super) async fn run(self) -> Result<(), tokio_postgres::Error> {
        let (client, task) = connect(&self.endpoint.config("postgres", "postgres")).await?;
        let drop_database = [
            "drop database if exists ",
            &quote::ident(&self.database),
            " with (force)",
        ]
        .concat();
        client.batch_execute(&drop_database).await?;
        for role in self.roles.iter().rev() {
            client
                .batch_execute(&["drop role if exists ", &quote::ident(role)].concat())
                .await?;
        }
        drop(client);
        // The task cannot fail; it is waited for so that the server sees a clean end.
        let _ = task.await;
        Ok(())
    }

    /// For `Drop`, which may be inside an async runtime or outside of one.
    pub(super) fn run_blocking(self) {
        let thread = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            else {
                return;
            };
            // The test has failed or ended already, and the cluster itself is temporary: what
            // cannot be removed here goes with it.
            let _ = runtime.block_on(self.run());
        });
        let _ = thread.join();
    }
}
