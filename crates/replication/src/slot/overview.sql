-- How the change stream stands on the server that takes the writes: settings, publication, and what is written down.
select
    pg_catalog.current_setting('wal_level') as wal_level,
    exists (select from pg_catalog.pg_publication b where b.pubname = $1::pg_catalog.text)
        and (
            select pg_catalog.count(*) = 2 from pg_catalog.pg_event_trigger e
            where e.evtname in ($1::pg_catalog.text || '_commands', $1::pg_catalog.text || '_drops')
                and e.evtenabled in ('O', 'A')) as published,
    pg_catalog.pg_current_wal_lsn()::pg_catalog.text as written,
    c.epoch, c.reason, c.position::pg_catalog.text as position, c.reader, c.reads,
    rolegate.change_relay_address() as relay
from rolegate.change_stream_state() c
