//! A connection that waits for notifications of ours. A notification carries nothing; it says
//! that there may be something to read.

use std::sync::Arc;
use std::time::Duration;

use postgres_protocol::message::backend::Message;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::quote;
use crate::wire::{Batch, ConnectError, Connection, Endpoint, Login};

/// Pause before connecting again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Wakes `heard` for every notification on `channel`, and after every reconnect, when one may
/// have been missed. Runs until `stop`.
pub async fn listen(
    endpoint: &Endpoint,
    login: &Login,
    channel: &str,
    heard: Arc<Notify>,
    stop: CancellationToken,
) {
    loop {
        let lost = tokio::select! {
            lost = listen_once(endpoint, login, channel, &heard) => lost,
            () = stop.cancelled() => return,
        };
        if let Err(error) = lost {
            tracing::info!(%error, cause = ?error, channel, "listener_lost");
        }
        tokio::select! {
            () = tokio::time::sleep(RECONNECT_PAUSE) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn listen_once(
    endpoint: &Endpoint,
    login: &Login,
    channel: &str,
    heard: &Notify,
) -> Result<(), ConnectError> {
    let settings = [("application_name", "rolegate listener")];
    let (mut connection, _) =
        Connection::open(endpoint, login, &settings, Duration::from_secs(5)).await?;
    let mut batch = Batch::default();
    let mut sql = String::from("listen ");
    sql.push_str(&quote::ident(channel));
    batch.once(&sql, &[], &[])?;
    batch.sync();
    connection.send(batch.take()).await?;
    loop {
        match connection.receive().await? {
            Message::ReadyForQuery(_) | Message::NotificationResponse(_) => heard.notify_one(),
            Message::ErrorResponse(body) => {
                return Err(ConnectError::Refused(crate::wire::DbError::from_body(
                    &body,
                )));
            }
            _ => {}
        }
    }
}
