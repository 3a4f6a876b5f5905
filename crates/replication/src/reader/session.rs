//! The leader's session.

use deadpool_postgres::Object;
use rolegate_pg::own::OwnPool;
use tokio_postgres::error::SqlState;

use super::StreamError;
use crate::commit::Commit;
use crate::config::StreamConfig;
use crate::epoch::Epoch;
use crate::lsn::Lsn;
use crate::relay::{Offer, PROTOCOL};
use crate::status::Unready;
use crate::xid::Xid;

/// The server ends the session of somebody who is silent for so long. What was confirmed to the slot must
/// never be less durable than the slot.
const SETTINGS: &str = "set application_name = 'rolegate replication'; \
    set idle_session_timeout = '15s'; set statement_timeout = '10s'; set lock_timeout = '5s'; \
    set synchronous_commit = on";

/// How a statement begins that waits for no standby, which may be away: should the slot be further than the position
/// after a failover, a new epoch begins.
const NOT_WAITING: &str = "select pg_catalog.set_config('synchronous_commit', 'local', true)";

/// A session. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Session {
    client: Object,
    pool: OwnPool,
    config: StreamConfig,
}

/// What is known of the stream before somebody begins.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) epoch: Option<Epoch>,
    pub(super) position: Lsn,
    /// An id of about now.
    pub(super) xid: Xid,
}

/// How somebody begins.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) epoch: Epoch,
    pub(super) position: Lsn,
    pub(super) former_term: i64,
    pub(super) term: i64,
}

/// A transaction of ours that says nothing, by which what comes is known to be of this primary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    xid: Xid,
    after: Lsn,
    before: Lsn,
}

impl Mark {
    /// Whether that is it.
    pub(super) fn is(&self, commit: &Commit) -> bool {
        commit.is_empty()
            && commit.xid == self.xid
            && (self.after..=self.before).contains(&commit.commit_lsn)
    }
}

/// What a look at the slot shows.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) published: bool,
    pub(super) written: Lsn,
    pub(super) retained: i64,
    pub(super) room: Option<i64>,
}

impl Session {
    pub(super) async fn open(config: &StreamConfig) -> Result<Self, StreamError> {
        let pool = OwnPool::new(&config.connect.endpoint, &config.connect.login, 1)?;
        let client = pool.get().await?;
        client.batch_execute(SETTINGS).await?;
        Ok(Self {
            client,
            pool,
            config: config.clone(),
        })
    }

    fn sql(&self, sql: &str) -> String {
        self.config.sql.of(sql)
    }

    pub(super) async fn is_on_standby(&self) -> Result<bool, StreamError> {
        let sql = "select pg_catalog.pg_is_in_recovery()";
        Ok(self.client.query_one(sql, &[]).await?.try_get(0)?)
    }

    pub(super) async fn is_migrated(&self) -> Result<bool, StreamError> {
        let sql = self.sql(
            "select pg_catalog.to_regprocedure(\
             'rolegate.offer_change_relay(integer, text, bytea, bytea)') is not null",
        );
        Ok(self.client.query_one(&sql, &[]).await?.try_get(0)?)
    }

    pub(super) async fn lead(&self) -> Result<bool, StreamError> {
        let sql = self.sql("select rolegate.lead_change_stream()");
        Ok(self.client.query_one(&sql, &[]).await?.try_get(0)?)
    }

    /// Whether the server can decode, and there is something to be decoded.
    pub(super) async fn check_published(&self) -> Result<(), StreamError> {
        let sql = "select pg_catalog.current_setting('wal_level') = 'logical'";
        if !self
            .client
            .query_one(sql, &[])
            .await?
            .try_get::<_, bool>(0)?
        {
            return Err(Unready::WalLevel.into());
        }
        if !self.look().await?.published {
            return Err(Unready::NotPublished.into());
        }
        Ok(())
    }

    /// The slot's name: one for each database of a cluster and installation in it.
    pub(super) async fn slot_name(&self) -> Result<String, StreamError> {
        let sql = "select $1::pg_catalog.text || '_' || d.oid from pg_catalog.pg_database d \
                   where d.datname = pg_catalog.current_database()";
        let prefix = &self.config.role_prefix;
        Ok(self.client.query_one(sql, &[prefix]).await?.try_get(0)?)
    }

    pub(super) async fn known(&self) -> Result<Known, StreamError> {
        let sql = self.sql(
            "select s.epoch, s.position::text, \
             pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text \
             from rolegate.change_stream_state() s",
        );
        let row = self.client.query_one(&sql, &[]).await?;
        Ok(Known {
            epoch: row.try_get::<_, Option<&str>>(0)?.map(Epoch::new),
            position: lsn(row.try_get(1)?)?,
            xid: xid(row.try_get(2)?)?,
        })
    }

    /// Begins; with a fresh slot at that position, and for that reason. `None`: the slot is of another
    /// history.
    pub(super) async fn begin(
        &self,
        system_identifier: &str,
        timeline: i64,
        fresh: Option<(Lsn, &str)>,
    ) -> Result<Option<Begun>, StreamError> {
        let sql = self.sql(
            "select b.epoch, b.position::text, b.former_term, b.term \
             from rolegate.begin_change_stream($1, $2, $3, $4::text::pg_lsn, $5) b",
        );
        let at = fresh.map(|(at, _)| at.to_string());
        let reason = fresh.map(|(_, reason)| reason);
        let name = self.config.reader();
        let row = self
            .client
            .query_one(&sql, &[&name, &system_identifier, &timeline, &at, &reason])
            .await;
        let row = match row {
            Ok(row) => row,
            Err(error)
                if fresh.is_none()
                    && error.code() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Some(Begun {
            epoch: Epoch::new(row.try_get(0)?),
            position: lsn(row.try_get(1)?)?,
            former_term: row.try_get(2)?,
            term: row.try_get(3)?,
        }))
    }

    /// Looks, and writes nothing.
    pub(super) async fn look(&self) -> Result<Look, StreamError> {
        let sql = "select \
            exists (select from pg_catalog.pg_publication b where b.pubname = $1::text) \
            and (select count(*) = 2 from pg_catalog.pg_event_trigger e \
                where e.evtname in ($1::text || '_commands', $1::text || '_drops') \
                and e.evtenabled in ('O', 'A')), \
            pg_catalog.pg_current_wal_lsn()::text, \
            coalesce(pg_catalog.pg_wal_lsn_diff( \
                pg_catalog.pg_current_wal_lsn(), s.restart_lsn), 0)::int8, s.safe_wal_size \
            from pg_catalog.pg_database d left join pg_catalog.pg_replication_slots s \
            on s.slot_name = $2::text || '_' || d.oid \
            where d.datname = pg_catalog.current_database()";
        let (schema, prefix) = (&self.config.schema, &self.config.role_prefix);
        let row = self.client.query_one(sql, &[schema, prefix]).await?;
        Ok(Look {
            published: row.try_get(0)?,
            written: lsn(row.try_get(1)?)?,
            retained: row.try_get(2)?,
            room: row.try_get(3)?,
        })
    }

    pub(super) async fn note_position(&self, position: Lsn) -> Result<(), StreamError> {
        let sql = self.sql(&format!(
            "{NOT_WAITING}, rolegate.note_change_position($1::text::pg_lsn)"
        ));
        self.client.query(&sql, &[&position.to_string()]).await?;
        Ok(())
    }

    /// Says where this process passes on what it reads.
    pub(super) async fn offer_relay(&self, offer: &Offer) -> Result<(), StreamError> {
        let sql = self.sql("select rolegate.offer_change_relay($1, $2, $3, $4)");
        let (secret, pin) = (offer.secret(), offer.pin());
        self.client
            .query(
                &sql,
                &[&PROTOCOL, &offer.address(), &&secret[..], &&pin[..]],
            )
            .await?;
        Ok(())
    }

    /// Has something written, so that the stream comes by; the position behind it.
    pub(super) async fn wake(&self) -> Result<Lsn, StreamError> {
        let sql = self.sql(&format!("{NOT_WAITING}, rolegate.wake_change_stream()"));
        self.client.query(&sql, &[]).await?;
        self.inserted().await
    }

    /// The same, to be known again when it comes.
    pub(super) async fn mark(&self) -> Result<Mark, StreamError> {
        let sql = self.sql(
            "select pg_catalog.pg_current_xact_id()::text, pg_catalog.pg_current_wal_insert_lsn()::text, \
             rolegate.wake_change_stream(), pg_catalog.set_config('synchronous_commit', 'local', true)",
        );
        let row = self.client.query_one(&sql, &[]).await?;
        Ok(Mark {
            xid: xid(row.try_get(0)?)?,
            after: lsn(row.try_get(1)?)?,
            before: self.inserted().await?,
        })
    }

    /// Where the primary writes next.
    pub(super) async fn inserted(&self) -> Result<Lsn, StreamError> {
        let sql = "select pg_catalog.pg_current_wal_insert_lsn()::text";
        lsn(self.client.query_one(sql, &[]).await?.try_get(0)?)
    }

    /// Up to where the primary has written.
    pub(super) async fn written(&self) -> Result<Lsn, StreamError> {
        let sql = "select pg_catalog.pg_current_wal_lsn()::text";
        lsn(self.client.query_one(sql, &[]).await?.try_get(0)?)
    }

    /// Has the primary say which transactions are open: a new slot on a standby waits for that. Without the right
    /// to ask for it there is something for the server to say it after, which it does in a quarter of a minute.
    pub(super) async fn list_transactions(&self) -> Result<(), StreamError> {
        let sql = "select coalesce(pg_catalog.has_function_privilege( \
            pg_catalog.to_regprocedure('pg_catalog.pg_log_standby_snapshot()'), 'execute'), false)";
        if !self
            .client
            .query_one(sql, &[])
            .await?
            .try_get::<_, bool>(0)?
        {
            self.wake().await?;
            return Ok(());
        }
        let sql = "select pg_catalog.pg_log_standby_snapshot()::text";
        self.client.query_one(sql, &[]).await?;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What comes back to a closed pool is closed.
        self.pool.close();
    }
}

fn xid(text: &str) -> Result<Xid, StreamError> {
    let number = text.parse().map(Xid);
    number.map_err(|_| StreamError::Unexpected("a strange transaction id"))
}

fn lsn(text: String) -> Result<Lsn, StreamError> {
    text.try_into()
        .map_err(|_| StreamError::Unexpected("a strange position"))
}
