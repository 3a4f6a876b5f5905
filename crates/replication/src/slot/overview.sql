-- How the change stream stands: settings, publication, slot, and what is written down.
select
    pg_catalog.current_setting('wal_level') as wal_level,
    pg_catalog.current_setting('max_slot_wal_keep_size') as max_slot_wal_keep_size,
    exists (select from pg_catalog.pg_publication b where b.pubname = $1::pg_catalog.text)
        and (
            select pg_catalog.count(*) = 2 from pg_catalog.pg_event_trigger e
            where e.evtname in ($1::pg_catalog.text || '_commands', $1::pg_catalog.text || '_drops')
                and e.evtenabled in ('O', 'A')) as published,
    s.slot_name::pg_catalog.text as slot_name, s.active, s.wal_status,
    pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::pg_catalog.int8
        as retained_bytes,
    pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.confirmed_flush_lsn)::pg_catalog.int8
        as behind_bytes,
    s.safe_wal_size as room_bytes,
    c.epoch, c.reason, c.position::pg_catalog.text as position, c.reader, c.reads,
    rolegate.change_relay_address() as relay
from rolegate.change_stream_state() c
join pg_catalog.pg_database d on d.datname = pg_catalog.current_database()
left join pg_catalog.pg_replication_slots s
    on s.slot_name = $2::pg_catalog.text || '_' || d.oid
