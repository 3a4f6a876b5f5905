//! The server that decodes, asked through the connection that will stream.

use std::time::Duration;

use rolegate_pg::quote;
use rolegate_pg::wire::{Endpoint, Replication, TextRow};
use tokio::time::{Instant, sleep};

use super::StreamError;
use crate::config::StreamConfig;
use crate::lsn::Lsn;

/// Longest time to connect.
const CONNECT_TIME: Duration = Duration::from_secs(5);
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

/// What a server says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) system_identifier: String,
    /// Of what it writes, or of what it replayed last.
    pub(super) timeline: i64,
    /// Up to where it has the log.
    pub(super) flushed: Lsn,
}

/// The slot as the server shows it.
#[derive(Debug)]
pub(super) struct Slot {
    /// A slot of ours: the plugin and the database are right.
    pub(super) ours: bool,
    active: bool,
    /// Why it is of no use any more.
    pub(super) lost: Option<&'static str>,
    pub(super) confirmed: Option<Lsn>,
}

/// Connects in replication mode.
pub(super) async fn open(
    config: &StreamConfig,
    endpoint: &Endpoint,
) -> Result<Replication, StreamError> {
    let opened = Replication::open(endpoint, &config.connect.login, &SETTINGS, CONNECT_TIME).await;
    Ok(opened.map_err(rolegate_pg::wire::ReplicationError::from)?)
}

pub(super) async fn identify(connection: &mut Replication) -> Result<Server, StreamError> {
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

/// The columns of the one row that `sql` gives, if it gives one.
pub(super) async fn row(
    connection: &mut Replication,
    sql: &str,
) -> Result<Option<TextRow>, StreamError> {
    Ok(connection.command(sql).await?.into_iter().next())
}

/// The one truth that `sql` gives.
pub(super) async fn is_true(connection: &mut Replication, sql: &str) -> Result<bool, StreamError> {
    let row = row(connection, sql).await?.unwrap_or_default();
    Ok(row.first().and_then(Option::as_deref) == Some("t"))
}

/// Whether anything limits what a slot keeps.
pub(super) async fn wal_is_limited(connection: &mut Replication) -> Result<bool, StreamError> {
    let sql = "select pg_catalog.current_setting('max_slot_wal_keep_size') <> '-1'";
    is_true(connection, sql).await
}

async fn slot(connection: &mut Replication, name: &str) -> Result<Option<Slot>, StreamError> {
    // 16 calls whatever made a slot useless a conflict; one whose log was removed has no position any more.
    let sql = [
        "select s.plugin = 'pgoutput' and s.database = pg_catalog.current_database() and not s.temporary, \
         s.active, s.wal_status = 'lost', s.confirmed_flush_lsn::pg_catalog.text, \
         pg_catalog.to_jsonb(s) ->> 'conflicting' = 'true' and s.restart_lsn is not null \
         from pg_catalog.pg_replication_slots s where s.slot_name = ",
        &quote::literal(name),
    ];
    let Some(row) = row(connection, &sql.concat()).await? else {
        return Ok(None);
    };
    let text = |index: usize| row.get(index).and_then(Option::as_deref);
    let is = |index: usize| text(index) == Some("t");
    Ok(Some(Slot {
        ours: is(0),
        active: is(1),
        lost: match (is(2), is(4)) {
            (_, true) => {
                Some("the slot was lost: the primary removed rows that the standby needed")
            }
            (true, false) => Some("the slot was lost: more was written than it may keep"),
            (false, false) => None,
        },
        confirmed: text(3).and_then(|text| text.parse().ok()),
    }))
}

/// The slot, once nobody uses it.
pub(super) async fn free_slot(
    connection: &mut Replication,
    name: &str,
) -> Result<Option<Slot>, StreamError> {
    let since = Instant::now();
    loop {
        match slot(connection, name).await? {
            Some(slot) if slot.active && since.elapsed() > SLOT_IN_USE => {
                return Err(StreamError::SlotInUse);
            }
            // Of a connection that is gone, which the server has not noticed yet.
            Some(slot) if slot.active => sleep(SLOT_PAUSE).await,
            slot => return Ok(slot),
        }
    }
}

pub(super) async fn drop_slot(connection: &mut Replication, name: &str) -> Result<(), StreamError> {
    let text = ["DROP_REPLICATION_SLOT ", &quote::ident(name)].concat();
    connection.command(&text).await?;
    Ok(())
}
