//! The slot for people: how it stands, and taking it away.

use std::time::Duration;

use rolegate_pg::EngineSql;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::publication::Installation;

/// How long whoever reads may take to let the slot go.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// How the change stream of a database stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// `wal_level` of the server; there is a stream only with `logical`.
    pub wal_level: String,
    /// `max_slot_wal_keep_size` of the server that decodes; `-1` is no limit.
    pub max_slot_wal_keep_size: String,
    /// Whether there is a publication with its event triggers.
    pub published: bool,
    /// The standby that decodes, if one was named.
    pub standby: Option<Standby>,
    /// The slot, on the server that decodes.
    pub slot: Option<Slot>,
    /// The epoch; `None` if there never was a stream.
    pub epoch: Option<String>,
    /// Why it began.
    pub reason: Option<String>,
    /// Up to where was read for good.
    pub position: String,
    /// Who reads, or read last.
    pub reader: Option<String>,
    /// Whether he still does.
    pub reads: bool,
    /// Where he passes it on, if he does.
    pub relay: Option<String>,
}

/// A slot as the server shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Whether it is in use.
    pub active: bool,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
    /// Bytes that the server keeps for it.
    pub retained_bytes: Option<i64>,
    /// Bytes that were written and not confirmed.
    pub behind_bytes: Option<i64>,
    /// Bytes that may be written before it is lost.
    pub room_bytes: Option<i64>,
}

/// A standby that decodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standby {
    /// Whether it still is one.
    pub in_recovery: bool,
    /// `hot_standby_feedback`, without which the slot is lost again and again.
    pub hot_standby_feedback: bool,
    /// Bytes that the primary has written and it has not replayed.
    pub late_bytes: Option<i64>,
}

impl Overview {
    /// Whether changes arrive.
    pub fn is_well(&self) -> bool {
        let slot = self.slot.as_ref();
        let standby = self.standby.as_ref();
        self.published
            && self.reads
            && standby.is_none_or(|standby| standby.in_recovery && standby.hot_standby_feedback)
            && slot.is_some_and(|slot| slot.active && slot.wal_status.as_deref() != Some("lost"))
    }
}

/// Looks. Any connection whose role may call `change_stream_state`, and one to the standby if that decodes.
pub async fn overview(
    client: &Client,
    standby: Option<&Client>,
    of: &Installation,
    role_prefix: &str,
) -> Result<Overview, tokio_postgres::Error> {
    let sql = EngineSql::new(&of.schema).of(include_str!("slot/overview.sql"));
    let row = client.query_one(&sql, &[&of.schema]).await?;
    let written: &str = row.try_get("written")?;
    let decodes = standby.unwrap_or(client);
    let there = decodes
        .query_one(include_str!("slot/slot.sql"), &[&role_prefix, &written])
        .await?;
    let slot = match there.try_get("slot_name")? {
        Some(name) => Some(Slot {
            name,
            active: there.try_get("active")?,
            wal_status: there.try_get("wal_status")?,
            retained_bytes: there.try_get("retained_bytes")?,
            behind_bytes: there.try_get("behind_bytes")?,
            room_bytes: there.try_get("room_bytes")?,
        }),
        None => None,
    };
    let standby = match standby {
        Some(_) => Some(Standby {
            in_recovery: there.try_get("in_recovery")?,
            hot_standby_feedback: there.try_get("feeds_back")?,
            late_bytes: there.try_get("late_bytes")?,
        }),
        None => None,
    };
    Ok(Overview {
        wal_level: row.try_get("wal_level")?,
        max_slot_wal_keep_size: there.try_get("max_slot_wal_keep_size")?,
        published: row.try_get("published")?,
        standby,
        slot,
        epoch: row.try_get("epoch")?,
        reason: row.try_get("reason")?,
        position: row.try_get("position")?,
        reader: row.try_get("reader")?,
        reads: row.try_get("reads")?,
        relay: row.try_get("relay")?,
    })
}

/// Takes the slot away from whoever reads, and drops it. Connected as a superuser, after the publication was
/// removed: otherwise a reader makes it again. Whether there was one.
pub async fn drop(client: &Client, role_prefix: &str) -> Result<bool, tokio_postgres::Error> {
    let end = "select pg_catalog.pg_terminate_backend(s.active_pid) \
               from pg_catalog.pg_replication_slots s \
               join pg_catalog.pg_database d on s.slot_name = $1::pg_catalog.text || '_' || d.oid \
               where d.datname = pg_catalog.current_database() and s.active_pid is not null";
    let drop = "select pg_catalog.pg_drop_replication_slot(s.slot_name) \
                from pg_catalog.pg_replication_slots s \
                join pg_catalog.pg_database d on s.slot_name = $1::pg_catalog.text || '_' || d.oid \
                where d.datname = pg_catalog.current_database()";
    let until = Instant::now() + PATIENCE;
    loop {
        client.query(end, &[&role_prefix]).await?;
        match client.query(drop, &[&role_prefix]).await {
            Ok(rows) => return Ok(!rows.is_empty()),
            // It is in use still, or again.
            Err(error)
                if error.code() == Some(&tokio_postgres::error::SqlState::OBJECT_IN_USE)
                    && Instant::now() < until =>
            {
                sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}
