//! Names what keeps the server from removing dead rows.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Error;

use super::steps::Steps;
use super::{metrics, session};

/// Between two looks.
pub(super) const EVERY: Duration = Duration::from_mins(1);
/// A line in the log is repeated after this.
const AGAIN: Duration = Duration::from_hours(1);

const KINDS: [&str; 4] = [
    "transaction",
    "prepared_transaction",
    "replication_slot",
    "walsender",
];

/// The oldest of each kind. Others' start times are hidden from this login, so that how long
/// something has been there is counted here. Whoever reads while an old transaction is open has a snapshot as old as
/// that one, and is not who holds it.
const QUERY: &str = "\
with running as (
    select a.backend_xid as xid, a.pid from pg_catalog.pg_stat_activity a where a.backend_xid is not null
    union all
    select p.transaction, null from pg_catalog.pg_prepared_xacts p
)
select distinct on (kind) kind, holder, identity, age::float8, held::float8
from (
    select 'transaction' as kind,
        pg_catalog.format('pid %s of %I (%s)', a.pid, a.usename, a.application_name) as holder,
        pg_catalog.concat_ws(' ', a.pid, coalesce(a.backend_xid, a.backend_xmin)) as identity,
        greatest(
            case when not exists (
                select from running r where r.xid = a.backend_xmin and r.pid is distinct from a.pid
            ) then pg_catalog.age(a.backend_xmin) end,
            pg_catalog.age(a.backend_xid)) as age,
        extract(epoch from pg_catalog.clock_timestamp() - a.xact_start) as held
    from pg_catalog.pg_stat_activity a
    where a.datname = pg_catalog.current_database() and a.usesysid is not null
        and a.pid <> pg_catalog.pg_backend_pid()
        and not exists (select from pg_catalog.pg_stat_replication r where r.pid = a.pid)
    union all
    select 'prepared_transaction', pg_catalog.format('%L of %I', p.gid, p.owner), p.gid,
        pg_catalog.age(p.transaction),
        extract(epoch from pg_catalog.clock_timestamp() - p.prepared)
    from pg_catalog.pg_prepared_xacts p
    where p.database = pg_catalog.current_database()
    union all
    -- A logical slot keeps dead rows of the catalogs only.
    select 'replication_slot', s.slot_name,
        pg_catalog.concat_ws(' ', s.slot_name, s.xmin, s.catalog_xmin),
        greatest(pg_catalog.age(s.xmin), pg_catalog.age(s.catalog_xmin)), null
    from pg_catalog.pg_replication_slots s
    union all
    select 'walsender', pg_catalog.format('pid %s of %I (%s)', r.pid, r.usename, r.application_name),
        pg_catalog.concat_ws(' ', r.pid, r.backend_xmin), pg_catalog.age(r.backend_xmin), null
    from pg_catalog.pg_stat_replication r
) holders
where age is not null
order by kind, age desc";

/// What that costs until now: dead rows in this database, as the server counts them; and, of a slot, bytes of
/// the log that it keeps. Asked only when something is said, and given up after a short time.
const COST: &str = "\
select (select pg_catalog.sum(t.n_dead_tup)::bigint from pg_catalog.pg_stat_all_tables t),
    (
        select greatest(pg_catalog.pg_wal_lsn_diff(
            case
                when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
                else pg_catalog.pg_current_wal_lsn()
            end,
            s.restart_lsn), 0)::bigint
        from pg_catalog.pg_replication_slots s where s.slot_name = $1
    )";
const COST_TIMEOUT: &str = "set statement_timeout = '2s'";

/// What is known of the holders.
#[derive(Debug, Default)]
pub(super) struct Horizon(BTreeMap<&'static str, Holder>);

#[derive(Debug)]
struct Holder {
    identity: String,
    since: Instant,
    said: Option<Instant>,
}

impl Horizon {
    pub(super) async fn look(&mut self, steps: &Steps) -> Result<(), Error> {
        let rows = steps.session.client.query(QUERY, &[]).await?;
        for kind in KINDS {
            let row = rows
                .iter()
                .find(|row| row.try_get::<_, &str>(0).is_ok_and(|of| of == kind));
            let Some(row) = row else {
                self.0.remove(kind);
                metrics::horizon(steps.database(), kind, 0.0, 0.0);
                continue;
            };
            let holder: &str = row.try_get(1)?;
            let transactions: f64 = row.try_get(3)?;
            let known = self.note(kind, row.try_get(2)?);
            let counted = known.since.elapsed().as_secs_f64();
            let seconds = row
                .try_get::<_, Option<f64>>(4)?
                .unwrap_or(0.0)
                .max(counted);
            metrics::horizon(steps.database(), kind, transactions, seconds);
            if seconds >= steps.config.horizon_patience.as_secs_f64()
                && known.said.is_none_or(|said| said.elapsed() >= AGAIN)
            {
                known.said = Some(Instant::now());
                let (dead_rows, wal_bytes) = cost(steps, kind, holder).await?;
                tracing::warn!(
                    database = steps.database(),
                    kind,
                    holder,
                    transactions,
                    seconds,
                    dead_rows,
                    wal_bytes,
                    "horizon_held"
                );
            }
        }
        Ok(())
    }

    fn note(&mut self, kind: &'static str, identity: String) -> &mut Holder {
        let fresh = |identity| Holder {
            identity,
            since: Instant::now(),
            said: None,
        };
        let known = self
            .0
            .entry(kind)
            .or_insert_with(|| fresh(identity.clone()));
        if known.identity != identity {
            *known = fresh(identity);
        }
        known
    }
}

/// Dead rows, and bytes of the log; `None`: not known.
async fn cost(
    steps: &Steps,
    kind: &str,
    holder: &str,
) -> Result<(Option<i64>, Option<i64>), Error> {
    let client = &steps.session.client;
    let slot = (kind == "replication_slot").then_some(holder);
    client.batch_execute(COST_TIMEOUT).await?;
    let row = client.query_one(COST, &[&slot]).await;
    client.batch_execute(session::STATEMENT_TIMEOUT).await?;
    Ok(match row {
        Ok(row) => (row.try_get(0)?, row.try_get(1)?),
        // It is said without.
        Err(_) => (None, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_holder_is_timed_from_its_first_sight_and_another_one_anew() {
        let mut horizon = Horizon::default();
        horizon.note("transaction", "1".to_owned());
        tokio::time::advance(EVERY).await;
        let known = horizon.note("transaction", "1".to_owned());
        assert_eq!(known.since.elapsed(), EVERY);
        let other = horizon.note("transaction", "2".to_owned());
        assert_eq!(other.since.elapsed(), Duration::ZERO);
    }
}
