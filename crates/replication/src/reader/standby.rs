//! A standby that decodes: whether it can, and that what comes from it is what the primary wrote.
//!
//! A standby that is promoted goes on streaming, and then tells what the primary never wrote. So what came is told
//! only after the standby has said once more, later, on which timeline it is. Its catalog shows that only at its
//! next checkpoint, and a connection that streams takes no questions, so a second one in replication mode asks.

use std::convert::Infallible;
use std::time::Duration;

use rolegate_pg::quote;
use rolegate_pg::wire::{Endpoint, Replication};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::StreamError;
use super::server::{self, Server};
use super::session::Session;
use super::told::Told;
use crate::config::StreamConfig;
use crate::feed::Feed;
use crate::lsn::Lsn;
use crate::metrics;
use crate::status::{Status, Unready};

/// What waits for the standby to say that it still is one: many commits are told at once.
pub(super) const HELD: usize = 64;
/// Between two questions, so that many commits do not make as many of them.
const PAUSE: Duration = Duration::from_millis(2);
/// If nothing comes it is asked all the same.
const IDLE: Duration = Duration::from_secs(1);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two looks at the slot.
const LOOK: Duration = Duration::from_secs(5);
/// Between two looks at whether the standby comes along.
const LAG_LOOK: Duration = Duration::from_secs(1);
/// What was written so long ago and has not come makes what is known old.
const LATE: Duration = Duration::from_secs(5);

/// Whether the server at the other end of `connection` can decode for `primary`, which was asked after it.
pub(super) async fn check(
    connection: &mut Replication,
    standby: &Server,
    primary: &Server,
) -> Result<(), StreamError> {
    let is_new =
        "select pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 160000";
    let feeds_back = "select pg_catalog.current_setting('hot_standby_feedback') = 'on'";
    let decodes = "select pg_catalog.current_setting('wal_level') = 'logical'";
    if !server::is_true(connection, is_new).await? {
        return Err(Unready::OldStandby.into());
    }
    if !server::is_true(connection, "select pg_catalog.pg_is_in_recovery()").await? {
        return Err(Unready::NoStandby.into());
    }
    let same = standby.system_identifier == primary.system_identifier
        && standby.timeline == primary.timeline
        && standby.flushed <= primary.flushed;
    if !same {
        return Err(Unready::OtherStandby.into());
    }
    if !server::is_true(connection, decodes).await? {
        return Err(Unready::WalLevel.into());
    }
    if !server::is_true(connection, feeds_back).await? {
        return Err(Unready::NoFeedback.into());
    }
    Ok(())
}

/// Removes our slot from the primary: it is of a time when that one decoded, and would keep its log for nobody.
pub(super) async fn clear_primary(
    config: &StreamConfig,
    primary: &mut Replication,
    slot: &str,
) -> Result<(), StreamError> {
    let there = server::free_slot(primary, slot).await?;
    if there.is_some_and(|slot| slot.ours) {
        server::drop_slot(primary, slot).await?;
        tracing::warn!(
            database = &*config.database,
            slot,
            "change_stream_slot_dropped"
        );
    }
    Ok(())
}

/// Returns when something that the primary wrote has not come for too long. The standby stands still, is far
/// behind, or was cut off; what is known then is old, and nothing else says so.
pub(super) async fn fall_behind(session: &Session, feed: &Feed) -> Result<Infallible, StreamError> {
    let mut due: Option<(Instant, Lsn)> = None;
    loop {
        sleep(LAG_LOOK).await;
        let Some(passed) = feed
            .passed()
            .filter(|_| feed.own_status() == Status::Following)
        else {
            due = None;
            continue;
        };
        match due {
            Some((since, _)) if since.elapsed() > LATE => return Err(StreamError::Behind),
            // It may not be flushed.
            Some((_, lsn)) if passed < lsn => feed.ask(lsn),
            _ => due = Some((Instant::now(), session.written().await?)),
        }
    }
}

/// A connection that asks the standby.
#[derive(Debug)]
pub(super) struct Watch {
    connection: Replication,
    system_identifier: String,
    timeline: i64,
    slot: String,
}

impl Watch {
    pub(super) async fn open(
        config: &StreamConfig,
        standby: &Endpoint,
        primary: &Server,
        slot: &str,
    ) -> Result<Self, StreamError> {
        Ok(Self {
            connection: server::open(config, standby).await?,
            system_identifier: primary.system_identifier.clone(),
            timeline: primary.timeline,
            slot: slot.to_owned(),
        })
    }

    /// Tells what came, once it is known to be of this primary.
    pub(super) async fn pass_on(
        mut self,
        mut came: mpsc::Receiver<Told>,
        config: &StreamConfig,
        feed: &Feed,
    ) -> Result<Infallible, StreamError> {
        let mut held = Vec::with_capacity(HELD);
        let (mut asked, mut looked) = (Instant::now(), None);
        loop {
            // Nothing for so long is no error; both ends live as long as this does.
            let _ = timeout(IDLE, came.recv_many(&mut held, HELD)).await;
            sleep_until(asked + PAUSE).await;
            timeout(ANSWER, self.confirm())
                .await
                .map_err(|_| StreamError::NoAnswer)??;
            asked = Instant::now();
            for told in held.drain(..) {
                told.tell(config, feed);
            }
            if looked.is_none_or(|looked: Instant| looked.elapsed() > LOOK) {
                timeout(ANSWER, self.look(config))
                    .await
                    .map_err(|_| StreamError::NoAnswer)??;
                looked = Some(Instant::now());
            }
        }
    }

    /// Whatever it sent before is of the primary's history if it still replays that one.
    async fn confirm(&mut self) -> Result<(), StreamError> {
        let server = server::identify(&mut self.connection).await?;
        let same =
            server.system_identifier == self.system_identifier && server.timeline == self.timeline;
        same.then_some(()).ok_or(StreamError::Strayed)
    }

    async fn look(&mut self, config: &StreamConfig) -> Result<(), StreamError> {
        let sql = [
            "select coalesce(pg_catalog.pg_wal_lsn_diff( \
                pg_catalog.pg_last_wal_replay_lsn(), s.restart_lsn), 0)::pg_catalog.int8, s.safe_wal_size \
             from pg_catalog.pg_replication_slots s where s.slot_name = ",
            &quote::literal(&self.slot),
        ];
        let row = server::row(&mut self.connection, &sql.concat()).await?;
        let row = row.unwrap_or_default();
        let number = |index: usize| row.get(index)?.as_deref()?.parse().ok();
        metrics::slot(&config.database, number(0).unwrap_or(0), number(1));
        Ok(())
    }
}
