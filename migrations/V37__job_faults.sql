-- What follows when a connection breaks at the wrong moment, and when a lock is held for long.

-- Claims of a worker that it does not know of: their connection broke before it had the answer. None of
-- their jobs was begun; they go back to their lanes. How many jobs that was. Raises 55P03 if such a claim
-- is still under way: ask again.
create function rolegate.give_back_claims(
    worker bigint, known_claims bigint[], known_at timestamptz[]
) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    k record;
    unknown smallint[];
    count integer := 0;
begin
    perform rolegate.need_read_committed();
    perform pg_catalog.set_config('jit', 'off', true),
        pg_catalog.set_config('lock_timeout', '1s', true);
    perform pg_catalog.pg_advisory_xact_lock(rolegate.worker_lock_key(worker));
    for k in
        select c.id, c.lane, c.jobs
        from rolegate.job_worker w
        join rolegate.job_claim c on c.id >= w.open_from and c.worker = w.id and c.jobs <> '{}'
        where w.id = give_back_claims.worker
            and not exists (
                select from unnest(known_claims, known_at) n (claim, at)
                where n.claim = c.id and n.at = c.at)
        order by c.id
    loop
        perform pg_catalog.pg_advisory_xact_lock(rolegate.claim_lock_key(k.id));
        unknown := array(
            select n::smallint from pg_catalog.generate_series(1, pg_catalog.cardinality(k.jobs)) n
            except
            select x.ordinal from rolegate.job_outcome o, pg_catalog.unnest(o.ordinals) x (ordinal)
            where o.claim = k.id
            order by 1);
        continue when unknown = '{}';
        insert into rolegate.job_outcome (claim, segment, ordinals, states)
        values (
            k.id, rolegate.write_segment(), unknown,
            pg_catalog.array_fill('b'::"char", array[pg_catalog.cardinality(unknown)]));
        perform rolegate.settle_attempt(k.lane, k.jobs[n], 'b', null)
        from pg_catalog.unnest(unknown) n;
        perform rolegate.leave_queue_places(array(
            select coalesce(j.root, j.id) from pg_catalog.unnest(unknown) n
            join rolegate.job j on j.lane = k.lane and j.id = k.jobs[n]));
        count := count + pg_catalog.cardinality(unknown);
    end loop;
    return count;
end
$$;
revoke execute on function rolegate.give_back_claims(bigint, bigint[], timestamptz[]) from public;
grant execute on function rolegate.give_back_claims(bigint, bigint[], timestamptz[]) to rolegate_worker;

-- As it was, but a worker that can't be given up now keeps no other from it: `held` are those whose locks
-- somebody has, or of which a job can't be taken. And while the server was down nobody could give a sign
-- of life: silence counts from its start.
drop function rolegate.rescue_jobs(interval);
create function rolegate.rescue_jobs(
    silence interval, out workers integer, out jobs integer, out held integer, out problem text,
    out next_at timestamptz
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
    held := 0;
    perform pg_catalog.set_config('lock_timeout', '1s', true);
    for silent in
        select w.id from rolegate.job_worker w
        where w.open_from is not null
            and greatest(w.seen_at, pg_catalog.pg_postmaster_start_time())
                < pg_catalog.clock_timestamp() - silence
        order by w.id
    loop
        begin
            jobs := jobs + rolegate.abandon_worker(silent);
            workers := workers + 1;
        exception when others then
            held := held + 1;
            problem := pg_catalog.format('worker %s: %s', silent, sqlerrm);
        end;
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

-- Empties the segment of the oldest turn, if all of it is closed and has been kept for long enough.
-- True if it did. Raises 55P03 if somebody holds a lock on it: try again later.
create function rolegate.empty_segment() returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    t rolegate.job_turn;
    is_late boolean;
    last_claim bigint;
begin
    perform rolegate.need_read_committed();
    perform pg_catalog.set_config('jit', 'off', true);
    perform pg_catalog.pg_advisory_xact_lock(rolegate.maintenance_lock_key());
    -- Claims wait for us while we wait. But where many segments are used they wait for those anyway, and
    -- on a busy server no moment of a tenth of a second comes in which nobody reads.
    perform pg_catalog.set_config(
        'lock_timeout', case
            when (select pg_catalog.count(*) from rolegate.job_turn) < 16 then '100ms'
            else '1s'
        end, true);
    select * into t from rolegate.job_turn o order by o.turn limit 1;
    if t.closed_at is null
        or t.closed_at + (select s.completed_retention from rolegate.job_setting s)
            > pg_catalog.clock_timestamp()
    then
        return false;
    end if;
    -- Nobody writes to it from here on. Claims still read: this takes as long as the segment is large.
    execute pg_catalog.format('lock table rolegate.%I in share mode', 'job_' || t.segment);
    execute pg_catalog.format(
        'select exists (select from rolegate.%I j where not pg_catalog.pg_visible_in_snapshot(j.xid, $1))',
        'job_' || t.segment)
    into strict is_late using t.drained_in;
    if is_late is not false or not rolegate.segment_is_drained(t.segment) then
        -- A producer was halted between its choice of the segment and the insert, or is older than the next
        -- turn. His job may run by now.
        update rolegate.job_turn u set drained_at_claim = null, drained_in = null, closed_at = null
        where u.turn = t.turn;
        return false;
    end if;
    execute pg_catalog.format(
        'lock table rolegate.%I, rolegate.%I, rolegate.%I in access exclusive mode',
        'job_' || t.segment, 'job_claim_' || t.segment, 'job_outcome_' || t.segment);
    -- Whoever is older than the next turn may have written here what became of a later claim.
    execute pg_catalog.format(
        'select greatest((select max(c.id) from rolegate.%I c), (select max(o.claim) from rolegate.%I o))',
        'job_claim_' || t.segment, 'job_outcome_' || t.segment)
    into last_claim;
    if exists (select from rolegate.job_worker w where w.open_from <= last_claim)
        or exists (select from rolegate.lane_cursors() c where c.segment = t.segment)
    then
        return false;
    end if;
    execute pg_catalog.format(
        'truncate rolegate.%I, rolegate.%I, rolegate.%I',
        'job_' || t.segment, 'job_claim_' || t.segment, 'job_outcome_' || t.segment);
    delete from rolegate.job_turn o where o.turn = t.turn;
    return true;
end
$$;
revoke execute on function rolegate.empty_segment() from public;
grant execute on function rolegate.empty_segment() to rolegate_maintenance;
