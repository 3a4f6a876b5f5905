-- Replication slots keep the log of changes until somebody reads it; without a limit, until the
-- disk is full. Only slots of ours: logical ones of this database, by their name or by who reads
-- them. Of others' slots their readers' owners decide.
select
    'slot_limits' as id, 'warning' as severity, 'max_slot_wal_keep_size' as object,
    'Nothing limits how much our slots keep (' || pg_catalog.string_agg(
        pg_catalog.quote_ident(s.slot_name), ', ' order by s.slot_name)
        || '), so a reader that stops fills the disk.' as message,
    array[]::pg_catalog.text[] as chain,
    'alter system set max_slot_wal_keep_size = ''16GB''; -- what the disk can spare' as fix
from pg_catalog.pg_replication_slots s
where s.database = pg_catalog.current_database()
    and not s.temporary
    and (pg_catalog.starts_with(s.slot_name, 'rolegate_')
        or exists (
            select from pg_catalog.pg_stat_activity a
            join pg_catalog.pg_roles r on r.oid = a.usesysid
            where a.pid = s.active_pid and r.rolname = 'rolegate_replicator'))
    and pg_catalog.current_setting('max_slot_wal_keep_size') = '-1'
having pg_catalog.count(*) > 0
