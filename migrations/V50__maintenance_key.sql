-- Who keeps everybody from leading the maintenance.

-- Sessions that have the leader's key, and are not the one that became the leader with it. `pid` is NULL for
-- a prepared transaction.
create function rolegate.leader_key_holders() returns table (pid integer, role text)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select k.pid, a.usename::text
    from pg_catalog.pg_locks k
    left join pg_catalog.pg_stat_activity a on a.pid = k.pid
    where k.locktype = 'advisory' and k.granted and k.objsubid = 1
        and k.classid::bigint = rolegate.leader_lock_key() >> 32
        and k.objid::bigint = rolegate.leader_lock_key() & x'ffffffff'::bigint
        and k.database = (
            select d.oid from pg_catalog.pg_database d
            where d.datname = pg_catalog.current_database())
        and k.pid is distinct from (select l.pid from rolegate.job_leader l)
$$;
revoke execute on function rolegate.leader_key_holders() from public;
grant execute on function rolegate.leader_key_holders() to rolegate_maintenance;
