//! Sleeping until there is something to claim, and hearing what was cancelled.
//!
//! Producers notify only while somebody says that he sleeps (`rolegate.await_jobs`): NOTIFY makes
//! commits wait for each other. One connection listens, and holds the locks that say so.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use postgres_protocol::message::backend::Message;
use rolegate_pg::wire::{Batch, ConnectError, Connection, DbError, Endpoint, Login};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Shared;

/// Where the database tells of running jobs that were cancelled.
const CANCELLATIONS: &str = "rolegate_job_cancel";
/// Pause before connecting again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// Longest time to connect.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Longest time to say that somebody sleeps.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The claiming task's side.
#[derive(Debug)]
pub(super) struct Bell {
    commands: mpsc::Sender<Command>,
    said: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Command {
    /// Say that somebody sleeps; answers whether it is said for all queues.
    Announce(oneshot::Sender<bool>),
    /// Nobody sleeps any more.
    Release,
}

impl Bell {
    pub(super) fn new() -> (Self, Commands) {
        let (commands, received) = mpsc::channel(4);
        let said = Arc::new(AtomicBool::new(false));
        let bell = Self {
            commands,
            said: Arc::clone(&said),
        };
        (bell, Commands { received, said })
    }

    /// Says that the worker sleeps. False if it can't be said for some queue: there a producer is
    /// about to commit without telling, or another worker sleeps, or there is no connection.
    pub(super) async fn announce(&self) -> bool {
        let (answer, said) = oneshot::channel();
        if self.commands.send(Command::Announce(answer)).await.is_err() {
            return false;
        }
        let said = tokio::time::timeout(ANSWER_TIME, said).await;
        said.is_ok_and(|said| said.unwrap_or(false))
    }

    /// Whether that still holds: it ends with the connection.
    pub(super) fn is_said(&self) -> bool {
        self.said.load(Ordering::Acquire)
    }

    /// Takes it back.
    pub(super) async fn release(&self) {
        let _ = self.commands.send(Command::Release).await;
    }
}

/// The connection's side.
#[derive(Debug)]
pub(super) struct Commands {
    received: mpsc::Receiver<Command>,
    /// That somebody sleeps.
    said: Arc<AtomicBool>,
}

impl Commands {
    /// There is no connection: whoever wants to sleep polls.
    async fn refuse_until<T>(&mut self, over: impl Future<Output = T>) -> T {
        tokio::pin!(over);
        loop {
            tokio::select! {
                over = &mut over => return over,
                // Dropping it says no.
                Some(_) = self.received.recv() => {}
            }
        }
    }
}

/// Where and how to wait.
#[derive(Debug)]
pub(super) struct Waking {
    pub(super) endpoint: Endpoint,
    pub(super) login: Login,
    /// Takes queue ids as an array in text.
    pub(super) announce: String,
}

/// Until stopped.
pub(super) async fn run(
    shared: Arc<Shared>,
    waking: Waking,
    mut commands: Commands,
    stop: CancellationToken,
) {
    loop {
        let lost = tokio::select! {
            lost = wait(&shared, &waking, &mut commands) => lost,
            () = stop.cancelled() => return,
        };
        commands.said.store(false, Ordering::Release);
        if let Err(error) = lost {
            tracing::info!(%error, cause = ?error, "worker_wakeup_lost");
        }
        tokio::select! {
            () = commands.refuse_until(tokio::time::sleep(RECONNECT_PAUSE)) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn wait(
    shared: &Shared,
    waking: &Waking,
    commands: &mut Commands,
) -> Result<(), ConnectError> {
    let settings = [("application_name", "rolegate worker")];
    let opening = Connection::open(&waking.endpoint, &waking.login, &settings, CONNECT_TIME);
    let (mut connection, _) = commands.refuse_until(opening).await?;
    for listen in ["listen rolegate_jobs", "listen rolegate_job_cancel"] {
        exchange(shared, &mut connection, statement(listen, None)?).await?;
    }
    // One may have been missed.
    shared.look.notify_one();
    shared.attempts.doubt_all();
    loop {
        tokio::select! {
            message = connection.receive() => {
                hear(shared, &message?).await?;
            }
            command = commands.received.recv() => match command {
                Some(Command::Announce(answer)) => {
                    let queues = shared.registration.read().await.queues.clone();
                    let asked = statement(&waking.announce, Some(&array(&queues)))?;
                    let said = exchange(shared, &mut connection, asked).await?;
                    let said = said.as_deref() == Some(array(&queues).as_bytes());
                    commands.said.store(said, Ordering::Release);
                    let _ = answer.send(said);
                }
                Some(Command::Release) => {
                    let asked = statement("select pg_catalog.pg_advisory_unlock_all()", None)?;
                    exchange(shared, &mut connection, asked).await?;
                }
                None => return Ok(()),
            },
        }
    }
}

/// The ids as PostgreSQL writes an array.
fn array(ids: &[i32]) -> String {
    let ids: Vec<String> = ids.iter().map(i32::to_string).collect();
    format!("{{{}}}", ids.join(","))
}

fn statement(sql: &str, parameter: Option<&str>) -> Result<Bytes, ConnectError> {
    let mut batch = Batch::default();
    match parameter {
        Some(text) => {
            // 25: text
            batch.once(sql, &[25], &[Some(Bytes::copy_from_slice(text.as_bytes()))])?;
        }
        None => batch.once(sql, &[], &[])?,
    }
    batch.sync();
    Ok(batch.take())
}

/// Sends, and waits for the end of it: the value of the last row's first column.
async fn exchange(
    shared: &Shared,
    connection: &mut Connection,
    bytes: Bytes,
) -> Result<Option<Bytes>, ConnectError> {
    use fallible_iterator::FallibleIterator as _;
    connection.send(bytes).await?;
    let mut value = None;
    loop {
        match connection.receive().await? {
            Message::ReadyForQuery(_) => return Ok(value),
            Message::DataRow(row) => {
                if let Some(Some(range)) = row.ranges().next()? {
                    value = row.buffer().get(range).map(Bytes::copy_from_slice);
                }
            }
            message => hear(shared, &message).await?,
        }
    }
}

async fn hear(shared: &Shared, message: &Message) -> Result<(), ConnectError> {
    match message {
        Message::NotificationResponse(body) if body.channel()? == CANCELLATIONS => {
            if let Some((claim, ordinal)) = attempt(body.message()?) {
                shared.attempts.hear(claim, ordinal);
            }
            Ok(())
        }
        Message::NotificationResponse(body) => {
            let queue = body.message()?;
            let registration = shared.registration.read().await;
            let of_ours = |id| registration.queues.contains(&id);
            if queue.is_empty() || queue.parse().is_ok_and(of_ours) {
                shared.look.notify_one();
            }
            Ok(())
        }
        Message::ErrorResponse(body) => Err(ConnectError::Refused(DbError::from_body(body))),
        _ => Ok(()),
    }
}

/// `claim:ordinal`. Anybody may notify anything.
fn attempt(payload: &str) -> Option<(i64, i16)> {
    let (claim, ordinal) = payload.split_once(':')?;
    Some((claim.parse().ok()?, ordinal.parse().ok()?))
}
