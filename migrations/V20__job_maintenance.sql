-- What has to happen from time to time: jobs whose time has come, workers that died, segments that
-- can be emptied. One process at a time does it; two would only do the same twice.

-- The lock under which it is done: a transaction's, so that it works behind a pooler. Who leads for
-- longer holds the next one for his session: see V24.
create function rolegate.maintenance_lock_key() returns bigint
language sql immutable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select x'524a4d'::bigint << 40 $$;
revoke execute on function rolegate.maintenance_lock_key() from public;

-- Jobs whose time has come go to their lanes. `next_at` is when the next one's comes.
create function rolegate.promote_jobs(most integer, out promoted integer, out next_at timestamptz)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    queues integer[];
begin
    with due as (
        select d.root from rolegate.job_deferred d
        where d.run_at <= pg_catalog.clock_timestamp() and d.waits_for is null
        order by d.run_at, d.root
        limit most
        for update skip locked
    ),
    gone as (
        delete from rolegate.job_deferred d using due where d.root = due.root returning d.*
    ),
    back as (
        insert into rolegate.job (
            root, lane, segment, attempt, max_attempts, flags, kind, principal, args, options)
        select
            g.root, g.lane, rolegate.write_segment(),
            g.attempt, g.max_attempts, g.flags, g.kind, g.principal, g.args, g.options
        from gone g
        order by g.run_at, g.root
        returning lane
    )
    select pg_catalog.count(*), pg_catalog.array_agg(distinct b.lane / 4)
    into promoted, queues
    from back b;
    perform rolegate.wake(q) from pg_catalog.unnest(queues) q;
    select d.run_at into next_at from rolegate.job_deferred d
    where d.waits_for is null order by d.run_at limit 1;
end
$$;
revoke execute on function rolegate.promote_jobs(integer) from public;
grant execute on function rolegate.promote_jobs(integer) to rolegate_maintenance;

-- Takes the jobs of workers that gave no sign of life for so long. `next_at` is when the next one
-- would be given up.
create function rolegate.rescue_jobs(
    silence interval, out workers integer, out jobs integer, out next_at timestamptz
)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    silent bigint;
begin
    workers := 0;
    jobs := 0;
    for silent in
        select w.id from rolegate.job_worker w
        where w.open_from is not null and w.seen_at < pg_catalog.clock_timestamp() - silence
        order by w.id
    loop
        jobs := jobs + rolegate.abandon_worker(silent);
        workers := workers + 1;
    end loop;
    -- One that has nothing open gives no sign of life; it registers again if it still lives.
    delete from rolegate.job_worker w
    where w.open_from is null and w.seen_at < pg_catalog.clock_timestamp() - interval '1 day';
    select min(w.seen_at) + silence into next_at from rolegate.job_worker w
    where w.open_from is not null;
end
$$;
revoke execute on function rolegate.rescue_jobs(interval) from public;
grant execute on function rolegate.rescue_jobs(interval) to rolegate_maintenance;

-- Where each lane's next claim goes on.
create function rolegate.lane_cursors() returns setof rolegate.job_claim
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select k.*
    from rolegate.job_queue q, pg_catalog.generate_series(q.id * 4, q.id * 4 + 3) l (lane),
        lateral (
            select c.* from rolegate.job_claim c where c.lane = l.lane
            order by c.hi desc, c.id desc limit 1
        ) k
$$;
revoke execute on function rolegate.lane_cursors() from public;

-- Whether every job that is in this segment now has been handed out.
create function rolegate.segment_is_drained(segment smallint) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    waiting boolean;
begin
    execute pg_catalog.format(
        $sql$
        select exists (
            select from rolegate.%1$I j
            left join rolegate.lane_cursors() c on c.lane = j.lane
            where c.id is null or c.pass is not null or j.id > c.hi
                or not pg_catalog.pg_visible_in_snapshot(j.xid, c.seen))
        $sql$, 'job_' || segment)
    into waiting;
    return not waiting;
end
$$;
revoke execute on function rolegate.segment_is_drained(smallint) from public;

-- Segments that no turn has used, and who may not know of them: virtual transactions that held locks when it was
-- looked at first.
create table rolegate.job_new_segment (
    segment smallint primary key,
    holders text[]
);

-- Starts a new turn if the present one has been written to for long enough: so long that a few
-- segments hold what has to be kept. True if it did.
create function rolegate.rotate_jobs() returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    now_written rolegate.job_turn;
    setting rolegate.job_setting;
    free smallint;
    fresh rolegate.job_new_segment;
    holding text[];
begin
    perform rolegate.need_read_committed();
    perform pg_catalog.pg_advisory_xact_lock(rolegate.maintenance_lock_key());
    select * into strict setting from rolegate.job_setting;
    select * into strict now_written from rolegate.job_turn t order by t.turn desc limit 1;
    if pg_catalog.clock_timestamp() - now_written.started_at
            < greatest(setting.completed_retention / 2, interval '1 second')
        or (pg_catalog.pg_relation_size(pg_catalog.format('rolegate.job_%s', now_written.segment)) = 0
            and pg_catalog.pg_relation_size(
                pg_catalog.format('rolegate.job_outcome_%s', now_written.segment)) = 0)
    then
        return false;
    end if;
    select n into free
    from pg_catalog.generate_series(0, (
        select pg_catalog.count(*) from pg_catalog.pg_inherits i
        where i.inhparent = 'rolegate.job'::pg_catalog.regclass) - 1) n
    where not exists (select from rolegate.job_turn t where t.segment = n)
    order by n limit 1;
    if free is null then
        if (select pg_catalog.count(*) from rolegate.job_turn) < setting.max_segments then
            insert into rolegate.job_new_segment (segment) values (rolegate.add_segment());
        end if;
        return false;
    end if;
    select * into fresh from rolegate.job_new_segment n where n.segment = free;
    if found then
        -- A plan is older than the snapshot that it runs with, and who has his locks may go on with a plan of before
        -- the segment. He must not be shown what is in it: it would be handed out nowhere and count as handed out,
        -- or look as if it were not. All who hand out or decide write to one of these; whoever takes his first such
        -- lock from now on plans with the segment.
        holding := array(
            select distinct l.virtualtransaction from pg_catalog.pg_locks l
            where l.relation in (
                    'rolegate.job_claim'::pg_catalog.regclass, 'rolegate.job_outcome'::pg_catalog.regclass,
                    'rolegate.job_tombstone'::pg_catalog.regclass,
                    'rolegate.job_deferred'::pg_catalog.regclass)
                and l.mode = 'RowExclusiveLock'
                and l.database = (
                    select d.oid from pg_catalog.pg_database d
                    where d.datname = pg_catalog.current_database()));
        if holding && coalesce(fresh.holders, holding) then
            update rolegate.job_new_segment n set holders = coalesce(n.holders, holding)
            where n.segment = free;
            return false;
        end if;
        delete from rolegate.job_new_segment n where n.segment = free;
    end if;
    insert into rolegate.job_turn (segment) values (free);
    return true;
end
$$;
revoke execute on function rolegate.rotate_jobs() from public;
grant execute on function rolegate.rotate_jobs() to rolegate_maintenance;

-- Looks at the turns that are not written to any more: which are drained, which are closed.
create function rolegate.close_turns() returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    t rolegate.job_turn;
    claimed bigint;
    looked pg_snapshot;
begin
    perform rolegate.need_read_committed();
    perform pg_catalog.set_config('jit', 'off', true);
    perform pg_catalog.pg_advisory_xact_lock(rolegate.maintenance_lock_key());
    for t in
        select * from rolegate.job_turn t
        where t.closed_at is null
            and t.turn < (select max(n.turn) from rolegate.job_turn n)
        order by t.turn
    loop
        if t.drained_at_claim is null then
            -- Who still writes to it has not committed.
            continue when exists (
                select from pg_catalog.pg_locks l
                where l.relation = pg_catalog.format('rolegate.job_%s', t.segment)::pg_catalog.regclass
                    and l.mode = 'RowExclusiveLock'
                    and l.database = (
                        select d.oid from pg_catalog.pg_database d
                        where d.datname = pg_catalog.current_database()));
            looked := pg_catalog.pg_current_snapshot();
            continue when not rolegate.segment_is_drained(t.segment);
            select s.last_value into claimed from rolegate.job_claim_id s;
            update rolegate.job_turn u set drained_at_claim = claimed, drained_in = looked
            where u.turn = t.turn;
            t.drained_at_claim := claimed;
        end if;
        continue when exists (
            select from rolegate.job_worker w where w.open_from <= t.drained_at_claim);
        update rolegate.job_turn u set closed_at = pg_catalog.clock_timestamp()
        where u.turn = t.turn;
    end loop;
end
$$;
revoke execute on function rolegate.close_turns() from public;
grant execute on function rolegate.close_turns() to rolegate_maintenance;

-- Cursors that stand in the segment of the oldest turn go to the one that is written to, so that
-- it can be emptied. Each under its lane's lock; a transaction of its own, because emptying waits
-- for locks that claims have.
create function rolegate.carry_cursors() returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    oldest smallint;
    next_lane integer;
    carried integer := 0;
begin
    perform rolegate.need_read_committed();
    perform pg_catalog.set_config('jit', 'off', true);
    select t.segment into oldest from rolegate.job_turn t
    where t.closed_at + (select s.completed_retention from rolegate.job_setting s)
            <= pg_catalog.clock_timestamp()
        and t.turn = (select min(o.turn) from rolegate.job_turn o);
    for next_lane in
        select c.lane from rolegate.lane_cursors() c where c.segment = oldest order by c.lane
    loop
        perform pg_catalog.pg_advisory_xact_lock(rolegate.lane_lock_key(next_lane));
        insert into rolegate.job_claim (
            segment, lane, worker, seen, hi, open_xids, open_low, last, prev_last, pass, pass_id, jobs)
        select
            rolegate.write_segment(), c.lane, 0, c.seen, c.hi, c.open_xids, c.open_low, c.last,
            c.prev_last, c.pass, c.pass_id, '{}'
        from rolegate.job_claim c
        where c.lane = next_lane
        order by c.hi desc, c.id desc limit 1;
        carried := carried + 1;
    end loop;
    return carried;
end
$$;
revoke execute on function rolegate.carry_cursors() from public;
grant execute on function rolegate.carry_cursors() to rolegate_maintenance;

-- Forgets what has been kept for long enough outside of the ring. How many jobs that was.
create function rolegate.prune_jobs(most integer) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    pruned integer;
begin
    -- One that a producer takes again just now is his.
    delete from rolegate.job_unique u
    where u.key in (
        select x.key from rolegate.job_unique x
        where x.ended and x.held_until <= pg_catalog.clock_timestamp()
        order by x.held_until limit 100 * most::bigint
        for update skip locked);
    delete from rolegate.job_rate r where r.free_at < pg_catalog.clock_timestamp() - interval '1 hour';
    delete from rolegate.job_ended e
    where e.root in (
        select x.root from rolegate.job_ended x
        where x.keep_until <= pg_catalog.clock_timestamp()
        order by x.keep_until limit most);
    get diagnostics pruned = row_count;
    return pruned;
end
$$;
revoke execute on function rolegate.prune_jobs(integer) from public;
grant execute on function rolegate.prune_jobs(integer) to rolegate_maintenance;
