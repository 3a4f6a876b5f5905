-- What people do with jobs. Each of it is decided by the lock that decides it for the engine, too: what
-- waits in a lane by the lane's, what runs by the claim's, what is deferred or ended by its row.

-- Before such a decision: it needs to see what others have committed by now, does not wait until
-- somebody looks for a deadlock, and is not left standing, because nothing is claimed of the lane
-- until the end of the transaction. The `lock_timeout` there was; the caller puts it back.
create function rolegate.start_decision() returns text
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    before constant text := pg_catalog.current_setting('lock_timeout');
    idle constant interval := pg_catalog.current_setting('idle_in_transaction_session_timeout')::interval;
    wait constant float8 := least(
        0.9, 0.9 * extract(epoch from pg_catalog.current_setting('deadlock_timeout')::interval));
begin
    if pg_catalog.current_setting('transaction_isolation') <> 'read committed' then
        raise exception using
            errcode = 'invalid_transaction_state',
            message = 'what happens to a job is decided at isolation level READ COMMITTED';
    end if;
    if idle = interval '0' or idle > interval '10 seconds' then
        perform pg_catalog.set_config('idle_in_transaction_session_timeout', '10s', true);
    end if;
    perform pg_catalog.set_config(
        'lock_timeout', greatest(pg_catalog.round(wait * 1000), 1)::text || 'ms', true);
    return before;
end
$$;
revoke execute on function rolegate.start_decision() from public;

-- A deferred or ended job as the row it would have in its lane.
create function rolegate.job_row(
    root bigint, enqueued_at timestamptz, lane integer, attempt smallint, max_attempts smallint,
    flags smallint, kind text, principal bigint, args jsonb, options jsonb
) returns rolegate.job
language sql immutable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select row(
        null, root, root, enqueued_at, lane, null, attempt, max_attempts, flags, kind, principal, args,
        options)::rolegate.job
$$;
revoke execute on function rolegate.job_row(
    bigint, timestamptz, integer, smallint, smallint, smallint, text, bigint, jsonb, jsonb) from public;

-- Where the job would go. NULL keeps its queue or its priority.
create function rolegate.other_lane(lane integer, queue text, priority integer) returns integer
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    if priority not between 1 and 4 then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'priority is 1 (first) to 4';
    end if;
    return case when queue is null then lane / 4 else rolegate.queue_id(queue) end * 4
        + coalesce(priority - 1, lane % 4);
end
$$;
revoke execute on function rolegate.other_lane(integer, text, integer) from public;

-- The job will not run; if it runs, its worker is told, and what it still does has no effect. True if
-- this call cancelled it; false if it has ended, or there is no job of the actor's with this id.
create function rolegate.cancel(job_id bigint, reason text default null) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    anybodys constant boolean :=
        pg_catalog.pg_has_role(rolegate.actor(), 'rolegate_operator', 'USAGE')
        -- For a batch, by the function that runs it.
        or pg_catalog.pg_has_role(rolegate.actor(), 'rolegate_maintenance', 'USAGE');
    lock_timeout text;
    f record;
    s record;
    d rolegate.job_deferred;
    j rolegate.job;
    done boolean := false;
begin
    if pg_catalog.length(reason) > 1000 then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'reason has at most 1000 characters';
    end if;
    lock_timeout := rolegate.start_decision();
    -- Each turn sees the job where somebody else has put it meanwhile.
    for turn in 1..100 loop
        select * into f from rolegate.find_job(job_id) x;
        j := f.j;
        exit when f.place is null or f.state in ('completed', 'failed', 'cancelled')
            or not (anybodys or rolegate.owns_job(j.principal));
        case
            when f.place = 'deferred' then
                delete from rolegate.job_deferred x where x.root = job_id returning x.* into d;
                done := found;
                j := rolegate.job_row(
                    d.root, d.enqueued_at, d.lane, d.attempt, d.max_attempts, d.flags, d.kind,
                    d.principal, d.args, d.options);
            when f.place = 'parked' then
                j := rolegate.unpark_job(job_id);
                done := j.id is not null;
            when f.state = 'available' then
                perform pg_catalog.pg_advisory_xact_lock(rolegate.lane_lock_key(j.lane));
                select * into s from rolegate.ring_state(j.lane, j.id, j.xid) x;
                done := s.state is not distinct from 'available';
                if done then
                    insert into rolegate.job_tombstone (id, state) values (j.id, 'x');
                end if;
            when f.state = 'running' then
                perform pg_catalog.pg_advisory_xact_lock(rolegate.claim_lock_key(f.claim));
                select * into s from rolegate.ring_state(j.lane, j.id, j.xid) x;
                done := (s.state, s.claim, s.claimed_at)
                    is not distinct from ('running'::text, f.claim, f.claimed_at);
                if done then
                    insert into rolegate.job_outcome (claim, segment, ordinals, states)
                    values (
                        f.claim, rolegate.write_segment(), array[f.ordinal], array['x'::"char"]);
                    perform rolegate.leave_queue_places(array[job_id]);
                    perform pg_catalog.pg_notify(
                        'rolegate_job_cancel', pg_catalog.concat(f.claim, ':', f.ordinal));
                end if;
        end case;
        exit when done;
    end loop;
    if done then
        perform rolegate.end_job(
            j, 'cancelled', coalesce(reason, 'cancelled'),
            pg_catalog.to_jsonb(pg_catalog.format('cancelled by %s', rolegate.actor())));
    end if;
    perform pg_catalog.set_config('lock_timeout', lock_timeout, true);
    return done;
end
$$;
revoke execute on function rolegate.cancel(bigint, text) from public;
grant execute on function rolegate.cancel(bigint, text) to rolegate_producer, rolegate_operator;

-- A job that failed or was cancelled, or waits for an answer from outside, goes back to its lane, with all
-- its attempts before it and its errors behind it. False if it is none of these; the answer comes too late
-- from then on. Its unique key is its own again only if nobody could
-- have taken it meanwhile (`unique_for`); else it has none any more.
create function rolegate.retry(
    job_id bigint, queue text default null, priority integer default null,
    run_at timestamptz default null, args jsonb default null
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    lock_timeout text;
    e rolegate.job_ended;
    j rolegate.job;
    target integer;
begin
    if run_at = 'infinity' then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'run_at is a time that comes';
    end if;
    lock_timeout := rolegate.start_decision();
    delete from rolegate.job_ended x where x.root = job_id returning x.* into e;
    if e.root is not null then
        if e.flags & 1 <> 0 then
            update rolegate.job_unique u set ended = false
            where u.root = e.root and u.held_until > pg_catalog.clock_timestamp();
            if not found then
                e.flags := e.flags & ~1;
            end if;
        end if;
        if e.flags & 8 <> 0 then
            -- Its parent may wait for it again.
            update rolegate.job_child c set state = null where c.child = e.root;
        end if;
        perform rolegate.requeue_job(
            rolegate.job_row(
                e.root, e.enqueued_at, rolegate.other_lane(e.lane, queue, priority), 0::smallint,
                e.max_attempts, e.flags, e.kind, e.principal, coalesce(retry.args, e.args),
                e.options),
            run_at, 'operator');
    else
        j := rolegate.unpark_job(job_id);
        if j.id is not null then
            target := rolegate.other_lane(j.lane, queue, priority);
            perform rolegate.requeue_job(
                rolegate.job_row(
                    j.id, j.enqueued_at, target, 0::smallint, j.max_attempts, j.flags & ~32::smallint,
                    j.kind, j.principal, coalesce(retry.args, j.args), j.options),
                run_at, 'operator');
            if j.flags & 2 <> 0 then
                -- As between two attempts; and the place it had was one of the other queue.
                perform rolegate.leave_places(job_id, target / 4 <> j.lane / 4);
            end if;
        end if;
    end if;
    perform pg_catalog.set_config('lock_timeout', lock_timeout, true);
    return e.root is not null or j.id is not null;
end
$$;
revoke execute on function rolegate.retry(bigint, text, integer, timestamptz, jsonb) from public;
grant execute on function rolegate.retry(bigint, text, integer, timestamptz, jsonb) to rolegate_operator;

-- The same for dead letters that ended before a time, oldest first in each lane. How many: call with
-- the same time until it is 0.
create function rolegate.retry_dead_letters(
    only_queue text default null, only_kind text default null, only_tag text default null,
    before timestamptz default null, most integer default 1000
) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    next_root bigint;
    retried integer := 0;
begin
    if (most between 1 and 10000) is not true then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'most is 1 to 10000';
    end if;
    for next_root in
        select e.root from rolegate.job_ended e
        where e.dead_letter and (only_kind is null or e.kind = only_kind)
            and (only_tag is null or e.options -> 'tags' ? only_tag)
            and (before is null or e.ended_at < before)
            and (
                only_queue is null
                or e.lane between rolegate.queue_id(only_queue) * 4
                    and rolegate.queue_id(only_queue) * 4 + 3)
        order by e.lane, e.root
        limit most
        for update skip locked
    loop
        retried := retried + rolegate.retry(next_root)::integer;
    end loop;
    return retried;
end
$$;
revoke execute on function rolegate.retry_dead_letters(text, text, text, timestamptz, integer) from public;
grant execute on function rolegate.retry_dead_letters(text, text, text, timestamptz, integer)
    to rolegate_operator;

-- Forgets dead letters that ended before a time. How many: call until it is 0.
create function rolegate.purge_dead_letters(
    only_queue text default null, only_kind text default null, only_tag text default null,
    before timestamptz default null, most integer default 10000
) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    purged integer;
begin
    if (most between 1 and 100000) is not true then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'most is 1 to 100000';
    end if;
    with chosen as (
        select e.root from rolegate.job_ended e
        where e.dead_letter and (only_kind is null or e.kind = only_kind)
            and (only_tag is null or e.options -> 'tags' ? only_tag)
            and (before is null or e.ended_at < before)
            and (
                only_queue is null
                or e.lane between rolegate.queue_id(only_queue) * 4
                    and rolegate.queue_id(only_queue) * 4 + 3)
        order by e.lane, e.root
        limit most
        for update skip locked
    )
    delete from rolegate.job_ended e using chosen c where e.root = c.root;
    get diagnostics purged = row_count;
    return purged;
end
$$;
revoke execute on function rolegate.purge_dead_letters(text, text, text, timestamptz, integer) from public;
grant execute on function rolegate.purge_dead_letters(text, text, text, timestamptz, integer)
    to rolegate_operator;

-- A job that waits goes to the end of another lane, or gets another time. False if no such job waits:
-- it runs, has ended, or is not there. NULL keeps what is; a time that has come is now.
create function rolegate.move_job(
    job_id bigint, queue text default null, priority integer default null,
    run_at timestamptz default null
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    lock_timeout text;
    f record;
    s record;
    j rolegate.job;
    target integer;
    due_at timestamptz;
    done boolean := false;
begin
    if run_at = 'infinity' then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'run_at is a time that comes';
    end if;
    lock_timeout := rolegate.start_decision();
    -- As in cancel().
    for turn in 1..100 loop
        select * into f from rolegate.find_job(job_id) x;
        j := f.j;
        exit when (f.state in ('available', 'scheduled', 'retryable')) is not true;
        target := rolegate.other_lane(j.lane, queue, priority);
        if f.place = 'deferred' then
            -- One that waits for its key asks for a place again where, or when, it comes to be. One
            -- that waits for its children still does.
            update rolegate.job_deferred d
            set lane = rolegate.other_lane(d.lane, queue, priority),
                run_at = case
                    when move_job.run_at is not null then move_job.run_at
                    when d.waits_for not like 'c:%' and target / 4 <> d.lane / 4
                        then pg_catalog.clock_timestamp()
                    else d.run_at
                end,
                waits_for = case
                    when d.waits_for like 'c:%' or move_job.run_at is null and target / 4 = d.lane / 4
                        then d.waits_for
                end
            where d.root = job_id
            returning d.run_at into due_at;
            done := found;
            if done and j.flags & 64 <> 0 and target / 4 <> j.lane / 4 then
                -- Whose workers look at what becomes of its children.
                update rolegate.job_child c set queue = target / 4 where c.parent = job_id;
                insert into rolegate.job_opening (queue, key) values (target / 4, 'c:' || job_id);
                perform rolegate.wake(target / 4);
            end if;
            if done and (f.run_at is null or due_at < f.run_at) then
                perform rolegate.wake_promoter();
            end if;
        else
            perform pg_catalog.pg_advisory_xact_lock(rolegate.lane_lock_key(j.lane));
            select * into s from rolegate.ring_state(j.lane, j.id, j.xid) x;
            done := s.state is not distinct from 'available';
            if done and (
                target <> j.lane or move_job.run_at > pg_catalog.clock_timestamp())
            then
                insert into rolegate.job_tombstone (id, state) values (j.id, 'm');
                if move_job.run_at > pg_catalog.clock_timestamp() then
                    insert into rolegate.job_deferred (
                        root, run_at, enqueued_at, lane, attempt, max_attempts, flags, kind, principal,
                        args, options)
                    values (
                        job_id, move_job.run_at, j.enqueued_at, target, j.attempt, j.max_attempts,
                        j.flags, j.kind, j.principal, j.args, j.options);
                    perform rolegate.wake_promoter();
                else
                    -- How long it has waited counts in the other lane, too.
                    insert into rolegate.job (
                        root, enqueued_at, lane, segment, attempt, max_attempts, flags, kind, principal,
                        args, options)
                    values (
                        job_id, j.enqueued_at, target, rolegate.write_segment(), j.attempt,
                        j.max_attempts, j.flags, j.kind, j.principal, j.args, j.options);
                    perform rolegate.wake(target / 4);
                end if;
            end if;
        end if;
        exit when done;
    end loop;
    if done and j.flags & 2 <> 0 and target / 4 <> j.lane / 4 then
        -- The place it had was one of the other queue.
        perform rolegate.leave_places(job_id, true);
    end if;
    perform pg_catalog.set_config('lock_timeout', lock_timeout, true);
    return done;
end
$$;
revoke execute on function rolegate.move_job(bigint, text, integer, timestamptz) from public;
grant execute on function rolegate.move_job(bigint, text, integer, timestamptz) to rolegate_operator;

create function rolegate.set_job_priority(job_id bigint, priority integer) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    if (priority between 1 and 4) is not true then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'priority is 1 (first) to 4';
    end if;
    return rolegate.move_job(job_id, priority => set_job_priority.priority);
end
$$;
revoke execute on function rolegate.set_job_priority(bigint, integer) from public;
grant execute on function rolegate.set_job_priority(bigint, integer) to rolegate_operator;

-- Cancels what waits in a queue, deferred jobs first; what runs or waits for an answer from outside
-- goes on. How many: call until it is 0, each call in a transaction of its own. Of the lanes they are
-- claimed, as by a worker, and cancelled at once, so that nothing is left to look at again.
create function rolegate.drain_queue(queue text, most integer default 1000) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    why constant jsonb := pg_catalog.to_jsonb(pg_catalog.format('cancelled by %s', rolegate.actor()));
    queue_id constant integer := rolegate.queue_id(queue);
    durably constant text := pg_catalog.current_setting('synchronous_commit');
    planned constant text := pg_catalog.current_setting('plan_cache_mode');
    lock_timeout text;
    q rolegate.job_queue;
    d rolegate.job_deferred;
    r record;
    nobody bigint;
    claims bigint[];
    ordinals smallint[];
    keyed bigint[] := '{}';
    openings text[];
    drained integer := 0;
begin
    if (most between 1 and 1000) is not true then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'most is 1 to 1000';
    end if;
    if pg_catalog.pg_current_xact_id_if_assigned() is not null then
        -- Jobs that this transaction put into the lanes would be claimed now, and once more later.
        raise exception using
            errcode = 'active_sql_transaction',
            message = 'a queue is drained in a transaction that has written nothing before';
    end if;
    lock_timeout := rolegate.start_decision();
    -- For the same reason no place is filled before the claims.
    with gone as (delete from rolegate.job_opening o where o.queue = queue_id returning o.key)
    select coalesce(pg_catalog.array_agg(distinct g.key), '{}') into openings from gone g;
    -- The second turn is for those that were put aside for their keys by the first one.
    for turn in 1..2 loop
        -- Those that are being promoted are waited for, and found in their lanes.
        for d in
            delete from rolegate.job_deferred x
            where x.root in (
                select y.root from rolegate.job_deferred y
                where y.lane between queue_id * 4 and queue_id * 4 + 3
                order by y.lane, y.root limit most
                for update)
            returning x.*
        loop
            drained := drained + 1;
            if d.flags & 2 <> 0 then
                keyed := keyed || d.root;
            end if;
            perform rolegate.end_job(
                rolegate.job_row(
                    d.root, d.enqueued_at, d.lane, d.attempt, d.max_attempts, d.flags & ~2::smallint,
                    d.kind, d.principal, d.args, d.options),
                'cancelled', 'drained', why);
        end loop;
        exit when drained >= most or turn = 2;
        perform pg_catalog.pg_advisory_xact_lock(rolegate.lane_lock_key(l.lane))
        from (
            select n as lane from pg_catalog.generate_series(queue_id * 4, queue_id * 4 + 3) n
            order by n
        ) l;
        -- A worker, and a queue without a pause or limits, which nobody else gets to see.
        insert into rolegate.job_worker (name, version, queues) values ('drain', '', '{}')
        returning id into strict nobody;
        select * into q from rolegate.job_queue x where x.id = queue_id for update;
        update rolegate.job_queue x
        set paused_at = null, paused_by = null, concurrency = null, rate = null, key_rate = null
        where x.id = q.id;
        claims := '{}';
        ordinals := '{}';
        for r in select * from rolegate.claim_jobs(nobody, array[queue_id], most - drained) loop
            continue when r.claim is null;
            claims := claims || r.claim;
            ordinals := ordinals || r.ordinal;
            if r.flags & 2 <> 0 then
                keyed := keyed || r.root;
            end if;
            perform rolegate.end_job(
                rolegate.job_row(
                    r.root, r.enqueued_at, r.lane, r.attempt, r.max_attempts, r.flags & ~2::smallint,
                    r.kind, r.principal, r.args::jsonb, r.options::jsonb),
                'cancelled', 'drained', why);
        end loop;
        insert into rolegate.job_outcome (claim, segment, ordinals, states)
        select
            c.claim, rolegate.write_segment(), pg_catalog.array_agg(c.ordinal order by c.ordinal),
            pg_catalog.array_fill('x'::"char", array[pg_catalog.count(*)::integer])
        from unnest(claims, ordinals) c (claim, ordinal)
        group by c.claim;
        drained := drained + pg_catalog.cardinality(claims);
        update rolegate.job_queue x
        set paused_at = q.paused_at, paused_by = q.paused_by, concurrency = q.concurrency, rate = q.rate,
            key_rate = q.key_rate
        where x.id = q.id;
        delete from rolegate.job_worker w where w.id = nobody;
        -- As they were before the claim.
        perform pg_catalog.set_config('synchronous_commit', durably, true),
            pg_catalog.set_config('plan_cache_mode', planned, true);
        exit when drained > 0;
    end loop;
    update rolegate.job_ended e set flags = e.flags | 2::smallint where e.root = any (keyed);
    with gone as (
        delete from rolegate.job_place p where p.root = any (keyed) returning p.key
    )
    insert into rolegate.job_opening (queue, key)
    select queue_id, k.key
    from (select g.key from gone g union select o from pg_catalog.unnest(openings) o (key)) k;
    perform pg_catalog.set_config('lock_timeout', lock_timeout, true);
    return drained;
end
$$;
revoke execute on function rolegate.drain_queue(text, integer) from public;
grant execute on function rolegate.drain_queue(text, integer) to rolegate_operator;
