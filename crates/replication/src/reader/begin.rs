//! Beginning to follow: with the slot that is there, or with a new one and a new epoch.

use std::convert::Infallible;
use std::time::Duration;

use rolegate_pg::quote;
use rolegate_pg::wire::Replication;
use tokio::sync::watch;
use tokio::time::sleep;

use super::server::{self, Server};
use super::session::{Begun, Known, Session};
use super::standby::{self, Watch};
use super::stream::Stream;
use super::told::follows;
use super::{Memory, StreamError, stand};
use crate::assembly::Assembler;
use crate::config::StreamConfig;
use crate::feed::{Feed, Why};
use crate::lsn::Lsn;
use crate::metrics;
use crate::status::{Status, Unready};

/// A new slot waits for the transactions that are open. From then on that is said.
const SLOT_PATIENCE: Duration = Duration::from_secs(10);
/// Between two requests to the primary to say which transactions are open, for a new slot on a standby.
const FIRST_LISTING: Duration = Duration::from_millis(250);
const LAST_LISTING: Duration = Duration::from_secs(5);

/// What is followed.
pub(super) struct Beginning {
    pub(super) stream: Stream,
    /// Where a standby decodes: what asks it whether it still is one.
    pub(super) watch: Option<Watch>,
}

/// Connects, finds or makes the slot, and starts the stream.
pub(super) async fn begin(
    config: &StreamConfig,
    session: &Session,
    feed: &Feed,
    memory: &mut Memory,
    stored: &watch::Sender<Lsn>,
) -> Result<Beginning, StreamError> {
    let mut connection = server::open(config, config.source()).await?;
    let mut server = server::identify(&mut connection).await?;
    let slot = session.slot_name().await?;
    let mut watch = None;
    if let Some(standby) = &config.standby {
        let mut primary = server::open(config, &config.connect.endpoint).await?;
        standby::clear_primary(config, &mut primary, &slot).await?;
        // After the standby, which is never ahead of it.
        let itself = server::identify(&mut primary).await?;
        standby::check(&mut connection, &server, &itself).await?;
        watch = Some(Watch::open(config, standby, &itself, &slot).await?);
        server = itself;
    }
    let known = session.known().await?;
    let gap = gap(&mut connection, feed, memory, &server, &known, &slot).await?;
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
    let mut mark = None;
    if watch.is_none() {
        follows(config, feed);
    } else {
        // A standby may be behind, or of a history that only looks like this one.
        mark = Some(session.mark().await?);
    }
    Ok(Beginning {
        stream: Stream::new(connection, assembler, from, stored.subscribe(), mark),
        watch,
    })
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

/// Why the slot that is there, if there is one, does not go on where we were.
async fn gap(
    connection: &mut Replication,
    feed: &Feed,
    memory: &Memory,
    server: &Server,
    known: &Known,
    name: &str,
) -> Result<Option<&'static str>, StreamError> {
    let slot = server::free_slot(connection, name).await?;
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
    Ok(if slot.lost.is_some() {
        slot.lost
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
    if !config.allow_unlimited_wal && !server::wal_is_limited(connection).await? {
        return Err(Unready::UnlimitedWal.into());
    }
    stand(config, feed, Status::Starting);
    if server::free_slot(connection, slot).await?.is_some() {
        server::drop_slot(connection, slot).await?;
    }
    let text = [
        "CREATE_REPLICATION_SLOT ",
        &quote::ident(slot),
        " LOGICAL pgoutput (SNAPSHOT 'nothing')",
    ]
    .concat();
    let rows = {
        let making = connection.command(&text);
        tokio::pin!(making);
        let listing = keep_listing(config, session);
        tokio::pin!(listing);
        let patience = sleep(SLOT_PATIENCE);
        tokio::pin!(patience);
        loop {
            tokio::select! {
                rows = &mut making => break rows?,
                failed = &mut listing => failed.map(|never| match never {})?,
                () = &mut patience, if !patience.is_elapsed() => say_that_it_waits(config, slot),
            }
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

/// Where a standby decodes, a new slot also waits for the primary to say which transactions are open.
async fn keep_listing(config: &StreamConfig, session: &Session) -> Result<Infallible, StreamError> {
    if config.standby.is_none() {
        return std::future::pending().await;
    }
    let mut pause = FIRST_LISTING;
    loop {
        sleep(pause).await;
        session.list_transactions().await?;
        pause = (pause * 2).min(LAST_LISTING);
    }
}

fn say_that_it_waits(config: &StreamConfig, slot: &str) {
    let hint = if config.standby.is_some() {
        "a new slot on a standby waits for every transaction that was open on the primary (see pg_stat_activity \
         there), and for the standby to come along (see pg_stat_replication)"
    } else {
        "a new slot waits for every transaction that was open: see pg_stat_activity"
    };
    tracing::warn!(
        database = &*config.database,
        slot,
        hint,
        "change_stream_waits"
    );
}
