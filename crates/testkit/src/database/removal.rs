//! Taking a test database and its roles away.

use std::sync::PoisonError;
use std::time::Duration;

use rolegate_pg::cluster::SocketEndpoint;
use rolegate_pg::quote;
use tokio_postgres::error::SqlState;

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

/// What a test that failed has left: it keeps the database, and everybody who wants a slot waits for it.
const PREPARED: &str = "select pg_catalog.format('rollback prepared %L', p.gid) \
    from pg_catalog.pg_prepared_xacts p where p.database = pg_catalog.current_database()";

/// Ends readers of the database's replication slots.
const END_STREAMS: &str = "select pg_catalog.pg_terminate_backend(s.active_pid) \
    from pg_catalog.pg_replication_slots s where s.database = $1 and s.active";

impl Removal {
    async fn roll_back_prepared(&self) -> Result<(), tokio_postgres::Error> {
        let (client, task) = connect(&self.endpoint.config("postgres", &self.database)).await?;
        for row in client.query(PREPARED, &[]).await? {
            client.batch_execute(row.try_get(0)?).await?;
        }
        drop(client);
        let _ = task.await;
        Ok(())
    }

    pub(super) async fn run(self) -> Result<(), tokio_postgres::Error> {
        // Of a database that can't be connected to, the drop below says what is wrong.
        let _ = self.roll_back_prepared().await;
        let (client, task) = connect(&self.endpoint.config("postgres", "postgres")).await?;
        let drop_database = [
            "drop database if exists ",
            &quote::ident(&self.database),
            " with (force)",
        ]
        .concat();
        let mut tries = 0;
        loop {
            // A reader that still runs comes back.
            client.execute(END_STREAMS, &[&self.database]).await?;
            let Err(error) = client.batch_execute(&drop_database).await else {
                break;
            };
            let is_streaming = error.code() == Some(&SqlState::OBJECT_IN_USE);
            tries += 1;
            if !is_streaming || tries > 100 {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
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
