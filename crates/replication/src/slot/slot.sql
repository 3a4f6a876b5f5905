-- The slot on the server that decodes, which may be a standby. $2: up to where the one that takes the writes has written.
select
    pg_catalog.current_setting('max_slot_wal_keep_size') as max_slot_wal_keep_size,
    pg_catalog.current_setting('hot_standby_feedback') = 'on' as feeds_back,
    pg_catalog.pg_is_in_recovery() as in_recovery,
    pg_catalog.pg_wal_lsn_diff($2::pg_catalog.text::pg_catalog.pg_lsn, w.at)::pg_catalog.int8 as late_bytes,
    s.slot_name::pg_catalog.text as slot_name, s.active, s.wal_status,
    pg_catalog.pg_wal_lsn_diff(w.at, s.restart_lsn)::pg_catalog.int8 as retained_bytes,
    pg_catalog.pg_wal_lsn_diff(w.at, s.confirmed_flush_lsn)::pg_catalog.int8 as behind_bytes,
    s.safe_wal_size as room_bytes
from pg_catalog.pg_database d
cross join lateral (
    select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
        else pg_catalog.pg_current_wal_lsn() end as at) w
left join pg_catalog.pg_replication_slots s on s.slot_name = $1::pg_catalog.text || '_' || d.oid
where d.datname = pg_catalog.current_database()
