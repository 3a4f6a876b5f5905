-- The ring gets smaller again. Every claim and every end looks into each segment, used or not, so that one
-- that has grown while somebody read for long would cost forever.

-- Segments that no turn uses, and since when that is known, while the ring has more than it needs.
create table rolegate.job_idle_segment (
    segment smallint primary key,
    since timestamptz not null default pg_catalog.clock_timestamp(),
    -- Whoever has an older snapshot may still see a turn that wrote to it.
    before xid8 not null default pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
);

-- Drops the partitions of the highest segment, if there are more than the ring needs and it was idle for so
-- long: who chose it just before it was emptied has written to it by then. True if it did. Raises 55P03 if
-- somebody holds a lock on the ring: try again later.
create function rolegate.drop_segment(idle_for interval default interval '10 minutes') returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    segments integer;
    highest smallint;
    idle rolegate.job_idle_segment;
    is_used boolean;
begin
    perform rolegate.need_read_committed();
    if (idle_for >= interval '0') is not true then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'idle_for is at least zero';
    end if;
    perform pg_catalog.pg_advisory_xact_lock(rolegate.maintenance_lock_key());
    segments := (
        select pg_catalog.count(*) from pg_catalog.pg_inherits i
        where i.inhparent = 'rolegate.job'::pg_catalog.regclass);
    highest := segments - 1;
    -- Two are free for the next turns.
    if segments <= greatest((select pg_catalog.count(*) from rolegate.job_turn) + 2, 4) then
        delete from rolegate.job_idle_segment;
        return false;
    end if;
    delete from rolegate.job_idle_segment i
    where i.segment > highest or exists (select from rolegate.job_turn t where t.segment = i.segment);
    insert into rolegate.job_idle_segment (segment)
    select n from pg_catalog.generate_series(0, highest) n
    where not exists (select from rolegate.job_turn t where t.segment = n)
        and not exists (select from rolegate.job_idle_segment i where i.segment = n);
    select * into idle from rolegate.job_idle_segment i where i.segment = highest;
    if idle.segment is null or idle.since + idle_for > pg_catalog.clock_timestamp()
        or exists (
            select from pg_catalog.pg_stat_activity a
            where a.datname = pg_catalog.current_database() and a.pid <> pg_catalog.pg_backend_pid()
                and pg_catalog.age(a.backend_xmin) > pg_catalog.age(idle.before::xid))
    then
        return false;
    end if;
    -- Whoever comes meanwhile waits for us while we wait.
    perform pg_catalog.set_config('lock_timeout', '100ms', true);
    lock table only rolegate.job, only rolegate.job_claim, only rolegate.job_outcome in access exclusive mode;
    -- What came late stays until the ring comes to it again.
    execute pg_catalog.format(
        'select exists (select from rolegate.%I) or exists (select from rolegate.%I) '
        'or exists (select from rolegate.%I)',
        'job_' || highest, 'job_claim_' || highest, 'job_outcome_' || highest)
    into strict is_used;
    if is_used then
        return false;
    end if;
    execute pg_catalog.format(
        'drop table rolegate.%I, rolegate.%I, rolegate.%I',
        'job_' || highest, 'job_claim_' || highest, 'job_outcome_' || highest);
    delete from rolegate.job_idle_segment i where i.segment = highest;
    delete from rolegate.job_new_segment n where n.segment = highest;
    return true;
end
$$;
revoke execute on function rolegate.drop_segment(interval) from public;
grant execute on function rolegate.drop_segment(interval) to rolegate_maintenance;
