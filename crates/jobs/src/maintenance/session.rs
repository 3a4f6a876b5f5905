//! A connection of the login for maintenance, and one that hears.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Object;
use postgres_protocol::message::backend::Message;
use rolegate_pg::own::OwnPool;
use rolegate_pg::wire::{Batch, ConnectError, Connection, DbError, Endpoint, Login};
use tokio::sync::Notify;

use super::MaintenanceError;

/// Longest time to connect.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How long a statement may take; as in the settings.
pub(super) const STATEMENT_TIMEOUT: &str = "set statement_timeout = '10min'";

/// The server ends the session of somebody who is silent for so long. Whoever reads a large segment
/// may take a while; whoever waits for a lock may not.
const SETTINGS: &str = "set application_name = 'rolegate maintenance'; \
    set idle_session_timeout = '15s'; set statement_timeout = '10min'; set lock_timeout = '5s'";

/// How to reach the database, and as whom. Directly: behind a transaction pooler no session is one's own.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Where it is.
    pub endpoint: Endpoint,
    /// The login for maintenance.
    pub login: Login,
}

/// A session. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Object,
    pool: OwnPool,
}

impl Session {
    pub(super) async fn open(connect: &Connect) -> Result<Self, MaintenanceError> {
        let pool = OwnPool::new(&connect.endpoint, &connect.login, 1)?;
        let client = pool.get().await?;
        client.batch_execute(SETTINGS).await?;
        Ok(Self { client, pool })
    }

    /// Whether nothing can be done on it any more.
    pub(super) fn is_lost(&self) -> bool {
        self.client.is_closed()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What comes back to a closed pool is closed.
        self.pool.close();
    }
}

/// Tells whenever a deferred job or a cron entry was committed while the leader sleeps.
pub(super) async fn hear(
    connect: &Connect,
    woken: Arc<Notify>,
) -> Result<Infallible, ConnectError> {
    let settings = [("application_name", "rolegate maintenance")];
    let (mut connection, _) =
        Connection::open(&connect.endpoint, &connect.login, &settings, CONNECT_TIME).await?;
    let mut batch = Batch::default();
    batch.once("listen rolegate_jobs", &[], &[])?;
    batch.sync();
    connection.send(batch.take()).await?;
    loop {
        match connection.receive().await? {
            // From now on nothing is missed.
            Message::ReadyForQuery(_) => woken.notify_one(),
            // 0 is the promoter; the others are queues, for workers.
            Message::NotificationResponse(body) if body.message()? == "0" => woken.notify_one(),
            Message::ErrorResponse(body) => {
                return Err(ConnectError::Refused(DbError::from_body(&body)));
            }
            _ => {}
        }
    }
}
