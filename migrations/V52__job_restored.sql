-- A dump that was restored into another cluster: the ring is full of transaction ids of the old one, which say
-- nothing here, or something wrong as soon as this one has come as far.

-- Whose transaction ids are in the ring.
create table rolegate.job_cluster (
    only_row boolean primary key default true check (only_row),
    system_identifier bigint not null
);

-- NULL where nobody but the provider may know it: there nobody notices that a dump comes from elsewhere.
create function rolegate.system_identifier() returns bigint
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    return (select c.system_identifier from pg_catalog.pg_control_system() c);
exception when insufficient_privilege then
    return null;
end
$$;
revoke execute on function rolegate.system_identifier() from public;

insert into rolegate.job_cluster (system_identifier)
select s from rolegate.system_identifier() s where s is not null;

-- Makes the ring this cluster's, if it is not yet: what was handed out by the cursors of the old one stays so, and
-- everything else is as if a transaction of long ago had enqueued it. True if it did. Nobody enqueues or claims
-- meanwhile; raises 55P03 if somebody does for too long: try again later.
create function rolegate.adopt_jobs() returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    here constant bigint := rolegate.system_identifier();
begin
    if not exists (select from rolegate.job_cluster c where c.system_identifier <> here) then
        return false;
    end if;
    perform rolegate.need_read_committed();
    perform pg_catalog.set_config('lock_timeout', '5s', true);
    lock table rolegate.job, rolegate.job_claim in access exclusive mode;
    -- Two that came at the same time.
    if not exists (select from rolegate.job_cluster c where c.system_identifier <> here) then
        return false;
    end if;
    -- Late in their lane, and not handed out: a new place.
    with late as materialized (
        select j.segment, j.lane, j.id, pg_catalog.nextval('rolegate.job_id') as place
        from rolegate.job j
        join rolegate.lane_cursors() c on c.lane = j.lane
        where j.id <= c.hi and not pg_catalog.pg_visible_in_snapshot(j.xid, c.seen)
            and (
                c.pass is null or j.id > c.pass_id
                or not pg_catalog.pg_visible_in_snapshot(j.xid, c.pass))
    ),
    buried as (
        update rolegate.job_tombstone t set id = l.place from late l where t.id = l.id
    )
    update rolegate.job j set root = coalesce(j.root, j.id), id = l.place
    from late l
    where j.segment = l.segment and j.lane = l.lane and j.id = l.id;
    update rolegate.job set xid = '3';
    -- Whoever waits for us has a transaction id, and takes an id of a job that is none of the old ones.
    insert into rolegate.job_claim (
        segment, lane, worker, seen, hi, open_xids, open_low, last, prev_last, jobs)
    select
        rolegate.write_segment(), c.lane, 0, pg_catalog.pg_current_snapshot(), c.hi,
        array(select x from pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) x),
        array(select c.last from pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) x),
        c.last, c.last, '{}'
    from rolegate.lane_cursors() c;
    update rolegate.job_turn set drained_at_claim = null, drained_in = null, closed_at = null;
    delete from rolegate.job_idle_segment;
    update rolegate.job_principal p set digest = pg_catalog.substr(p.digest, 2)
    where pg_catalog.length(p.digest) = 33;
    update rolegate.job_principal_sweep set marked = null, until = null;
    update rolegate.job_cluster set system_identifier = here;
    return true;
end
$$;
revoke execute on function rolegate.adopt_jobs() from public;
