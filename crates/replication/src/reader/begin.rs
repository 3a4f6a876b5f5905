//! Beginning to follow: with the slot that is there, or with a new one and a new epoch.

use std::time::Duration;

use rolegate_pg::quote;
use rolegate_pg::wire::Replication;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::session::{Begun, Known, Session};
use super::stream::Stream;
use super::{Memory, StreamError, stand};
use crate::assembly::Assembler;
use crate::config::StreamConfig;
use crate::feed::{Feed, Why};
use crate::lsn::Lsn;
use crate::metrics;
use crate::status::{Status, Unready};

/// Longest time to connect.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// A new slot waits for the transactions that are open. From then on that is said.
const SLOT_PATIENCE: Duration = Duration::from_secs(10);
/// How long the slot of a connection that has gone may be in use: the server notices within
/// `wal_sender_timeout` below.
const SLOT_IN_USE: Duration = Duration::from_secs(20);
const SLOT_PAUSE: Duration = Duration::from_millis(100);

/// Values are sent in text: the same whatever is configured. A connection that is gone frees the slot soon.
const SETTINGS: [(&str, &str); 8] = [
    ("application_name", "rolegate replication"),
    ("wal_sender_timeout", "15s"),
    ("client_connection_check_interval", "5s"),
    ("datestyle", "ISO"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
];

/// What the server says of itself.
struct Server {
    system_identifier: String,
    timeline: i64,
    flushed: Lsn,
}

/// Connects, finds or makes the slot, and starts the stream.
pub(super) async fn begin(
    config: &StreamConfig,
    session: &Session,
    feed: &Feed,
    memory: &mut Memory,
    stored: &watch::Sender<Lsn>,
) -> Result<Stream, StreamError> {
    let connect = &config.connect;
    let mut connection =
        Replication::open(&connect.endpoint, &connect.login, &SETTINGS, CONNECT_TIME)
            .await
            .map_err(rolegate_pg::wire::ReplicationError::from)?;
    let server = identify(&mut connection).await?;
    let known = session.known().await?;
    let slot = session.slot_name().await?;
    let gap = gap(session, feed, memory, &server, &known, &slot).await?;
    let mut begun = None;
    if gap.is_none() {
        begun = session
            .begin(&server.system_identifier, server.timeline, None)
            .await?;
    }
    let begun = if let Some(begun) = begun {
        begun
    } else {
        let reason = gap.unwrap_or("another history of the database");
        anew(
            config,
            session,
            feed,
            &mut connection,
            &server,
            &slot,
            reason,
        )
        .await?
    };
    stored.send_replace(begun.position);
    let from = place(config, feed, memory, &begun, gap);
    let text = [
        "START_REPLICATION SLOT ",
        &quote::ident(&slot),
        " LOGICAL ",
        &from.to_string(),
        " (proto_version '1', messages 'true', publication_names ",
        &quote::literal(&quote::ident(&config.schema)),
        ")",
    ];
    connection.start(&text.concat()).await?;
    let assembler = Assembler::new(known.xid, &config.schema, config.bounds);
    feed.follows();
    stand(config, feed, Status::Following);
    tracing::info!(
        database = &*config.database, epoch = %begun.epoch, from = %from, "change_stream_follows"
    );
    Ok(Stream::new(connection, assembler, from, stored.subscribe()))
}

/// Where to go on, after having told everybody if that is not where we were.
fn place(
    config: &StreamConfig,
    feed: &Feed,
    memory: &mut Memory,
    begun: &Begun,
    gap: Option<&str>,
) -> Lsn {
    let before = memory.term.replace(begun.term);
    if let Some((epoch, passed)) = feed.last()
        && gap.is_none()
        && epoch == begun.epoch
        && before == Some(begun.former_term)
    {
        return passed.max(begun.position);
    }
    // A slot that is there goes on after what was read for good, whoever did.
    feed.begins(&begun.epoch, begun.position, Why::Began);
    stand(config, feed, Status::Starting);
    memory.stuck = None;
    begun.position
}

async fn identify(connection: &mut Replication) -> Result<Server, StreamError> {
    let rows = connection.command("IDENTIFY_SYSTEM").await?;
    let mut columns = rows.into_iter().next().unwrap_or_default().into_iter();
    let mut next = || columns.next().flatten();
    let (identifier, timeline, flushed) = (next(), next(), next());
    Ok(Server {
        system_identifier: identifier.ok_or(StreamError::Unexpected("no system identifier"))?,
        timeline: timeline
            .and_then(|text| text.parse().ok())
            .ok_or(StreamError::Unexpected("no timeline"))?,
        flushed: flushed
            .and_then(|text| text.parse().ok())
            .ok_or(StreamError::Unexpected("no position"))?,
    })
}

/// Why the slot that is there, if there is one, does not go on where we were.
async fn gap(
    session: &Session,
    feed: &Feed,
    memory: &Memory,
    server: &Server,
    known: &Known,
    name: &str,
) -> Result<Option<&'static str>, StreamError> {
    let since = Instant::now();
    let slot = loop {
        match session.slot(name).await? {
            Some(slot) if slot.active && since.elapsed() > SLOT_IN_USE => {
                return Err(StreamError::SlotInUse);
            }
            // Of a connection that is gone, which the server has not noticed yet.
            Some(slot) if slot.active => sleep(SLOT_PAUSE).await,
            slot => break slot,
        }
    };
    let Some(slot) = slot else {
        let first = known.epoch.is_none();
        return Ok(Some(if first {
            "the first slot"
        } else {
            "the slot was gone"
        }));
    };
    if !slot.ours {
        return Err(Unready::ForeignSlot.into());
    }
    let passed = feed.last().map(|(_, passed)| passed);
    Ok(if slot.lost {
        Some("the slot was lost: more was written than it may keep")
    } else if slot
        .confirmed
        .is_none_or(|confirmed| confirmed > known.position)
    {
        Some("the slot is further than was read")
    } else if passed.is_some_and(|passed| passed > server.flushed) {
        Some("the server is behind what was read")
    } else if memory.is_stuck() {
        Some("the stream could not be read")
    } else {
        None
    })
}

/// A new slot, and with it a new epoch.
async fn anew(
    config: &StreamConfig,
    session: &Session,
    feed: &Feed,
    connection: &mut Replication,
    server: &Server,
    slot: &str,
    reason: &'static str,
) -> Result<Begun, StreamError> {
    // What was removed on purpose is not made again.
    session.check_published().await?;
    if !config.allow_unlimited_wal && !session.wal_is_limited().await? {
        return Err(Unready::UnlimitedWal.into());
    }
    stand(config, feed, Status::Starting);
    let name = quote::ident(slot);
    if session.slot(slot).await?.is_some() {
        connection
            .command(&["DROP_REPLICATION_SLOT ", &name].concat())
            .await?;
    }
    let text = [
        "CREATE_REPLICATION_SLOT ",
        &name,
        " LOGICAL pgoutput (SNAPSHOT 'nothing')",
    ]
    .concat();
    let rows = {
        let making = connection.command(&text);
        tokio::pin!(making);
        if let Ok(rows) = timeout(SLOT_PATIENCE, &mut making).await {
            rows?
        } else {
            tracing::warn!(
                database = &*config.database,
                slot,
                hint = "a new slot waits for every transaction that was open: see pg_stat_activity",
                "change_stream_waits"
            );
            making.await?
        }
    };
    let point = rows
        .first()
        .and_then(|row| row.get(1))
        .and_then(Option::as_deref);
    let point: Lsn = point
        .and_then(|text| text.parse().ok())
        .ok_or(StreamError::Unexpected("no position of the new slot"))?;
    let begun = session
        .begin(
            &server.system_identifier,
            server.timeline,
            Some((point, reason)),
        )
        .await?
        .ok_or(StreamError::Unexpected("no epoch"))?;
    metrics::epoch(&config.database, reason);
    tracing::warn!(
        database = &*config.database, slot, epoch = %begun.epoch, reason, "change_stream_new_epoch"
    );
    Ok(begun)
}
