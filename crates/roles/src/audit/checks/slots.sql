-- Replication slots keep the log of changes until somebody reads it; without a limit, until the
-- disk is full. Slots of other databases are those databases' findings.
select
    'slot_limits' as id, 'warning' as severity, 'max_slot_wal_keep_size' as object,
    'Nothing limits how much the slots keep (' || pg_catalog.string_agg(
        pg_catalog.quote_ident(s.slot_name), ', ' order by s.slot_name)
        || '), so a reader that stops fills the disk.' as message,
    array[]::pg_catalog.text[] as chain,
    'alter system set max_slot_wal_keep_size = ''16GB''; -- what the disk can spare' as fix
from pg_catalog.pg_replication_slots s
where coalesce(s.database, pg_catalog.current_database()) = pg_catalog.current_database()
    and not s.temporary
    and pg_catalog.current_setting('max_slot_wal_keep_size') = '-1'
having pg_catalog.count(*) > 0
