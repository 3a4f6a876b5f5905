-- How attempts end. An attempt is a claim and an ordinal in it; whoever ends one takes the claim's
-- lock first and leaves out what has ended already, so that of two only the first counts.

create function rolegate.claim_lock_key(claim bigint) returns bigint
language plpgsql immutable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    return (x'524a43'::bigint << 40) + claim;
end
$$;
revoke execute on function rolegate.claim_lock_key(bigint) from public;

-- The nth failure waits `backoff * 2^(n-1)`; a quarter of it is by chance, so that jobs that failed
-- together don't come back together.
create function rolegate.job_backoff(lane integer, failures integer) returns interval
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select least(q.backoff * pg_catalog.power(2, least(failures - 1, 30)), q.max_backoff)
        * (0.75 + 0.25 * pg_catalog.random())
    from rolegate.job_queue q where q.id = lane / 4
$$;
revoke execute on function rolegate.job_backoff(integer, integer) from public;

-- What a job held is free. `flags` says what that can be.
create function rolegate.release_job(root bigint, flags smallint) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
begin
    if flags & 1 <> 0 then
        delete from rolegate.job_unique u
        where u.root = release_job.root
            and (u.held_until is null or u.held_until <= pg_catalog.clock_timestamp());
        update rolegate.job_unique u set ended = true where u.root = release_job.root;
    end if;
    if flags & 4 <> 0 then
        delete from rolegate.job_progress p where p.root = release_job.root;
    end if;
    if flags & 2 <> 0 then
        perform rolegate.leave_places(release_job.root, true);
    end if;
    if flags & 8 <> 0 then
        perform rolegate.child_ended(release_job.root);
    end if;
    if flags & 64 <> 0 then
        delete from rolegate.job_child c where c.parent = release_job.root;
    end if;
end
$$;
revoke execute on function rolegate.release_job(bigint, smallint) from public;

-- The job stands in its lane again, now or later, under the same name.
create function rolegate.requeue_job(j rolegate.job, run_at timestamptz, reason text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    if run_at > pg_catalog.clock_timestamp() then
        insert into rolegate.job_deferred (
            root, run_at, reason, enqueued_at, lane, attempt, max_attempts, flags, kind, principal,
            args, options)
        values (
            coalesce(j.root, j.id), run_at, reason, j.enqueued_at, j.lane, j.attempt,
            j.max_attempts, j.flags, j.kind, j.principal, j.args, j.options);
        perform rolegate.wake_promoter();
    else
        insert into rolegate.job (
            root, lane, segment, attempt, max_attempts, flags, kind, principal, args, options)
        values (
            coalesce(j.root, j.id), j.lane, rolegate.write_segment(), j.attempt, j.max_attempts,
            j.flags, j.kind, j.principal, j.args, j.options);
        perform rolegate.wake(j.lane / 4);
    end if;
end
$$;
revoke execute on function rolegate.requeue_job(rolegate.job, timestamptz, text) from public;

-- The job ended without completing.
create function rolegate.end_job(
    j rolegate.job, state text, reason text, error jsonb
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    insert into rolegate.job_ended (
        root, state, reason, error, dead_letter, keep_until, enqueued_at, lane, attempt,
        max_attempts, flags, kind, principal, args, options)
    select
        coalesce(j.root, j.id), end_job.state, end_job.reason, end_job.error, d.dead_letter,
        pg_catalog.clock_timestamp() + case
            when d.dead_letter then s.dead_letter_retention
            else s.failed_retention
        end,
        j.enqueued_at, j.lane, j.attempt, j.max_attempts, j.flags, j.kind, j.principal, j.args,
        j.options
    from rolegate.job_setting s, lateral (
        -- A right that was lost is for people to look at, whatever the queue says.
        select end_job.state = 'failed' and (
            end_job.reason = 'not_permitted'
            or (select q.dead_letters from rolegate.job_queue q where q.id = j.lane / 4)
        ) as dead_letter
    ) d;
    perform rolegate.release_job(coalesce(j.root, j.id), j.flags);
end
$$;
revoke execute on function rolegate.end_job(rolegate.job, text, text, jsonb) from public;

-- What follows from the end of an attempt. `detail` is the output of a completed job, else an object
-- with `error`, `reason` and `delay` in seconds.
create function rolegate.settle_attempt(lane integer, id bigint, state "char", detail jsonb) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    j rolegate.job;
    delay constant interval := case
        when state in ('r', 's') then pg_catalog.make_interval(secs => (detail ->> 'delay')::float8)
    end;
begin
    select * into strict j from rolegate.job b
    where b.lane = settle_attempt.lane and b.id = settle_attempt.id;
    if state in ('f', 'r', 'l') then
        j.attempt := j.attempt + 1;
        -- The last ten errors travel with the job.
        j.options := coalesce(j.options, '{}') || pg_catalog.jsonb_build_object('errors', (
            select pg_catalog.jsonb_agg(e.error order by e.nth)
            from (
                select x.error, x.nth
                from pg_catalog.jsonb_array_elements(
                    coalesce(j.options -> 'errors', '[]') || pg_catalog.jsonb_build_object(
                        'attempt', j.attempt, 'at', pg_catalog.clock_timestamp(),
                        'error', case when state = 'l' then '"the worker was lost"' else detail -> 'error' end)
                ) with ordinality x (error, nth)
                order by x.nth desc limit 10
            ) e));
    end if;
    case
        when state = 'c' then
            perform rolegate.release_job(coalesce(j.root, j.id), j.flags);
        when state = 'f' then
            perform rolegate.end_job(
                j, 'failed', coalesce(detail ->> 'reason', 'terminal_error'), detail -> 'error');
        when state in ('r', 'l') and j.attempt >= j.max_attempts then
            perform rolegate.end_job(
                j, 'failed', 'max_attempts_exhausted',
                coalesce(detail -> 'error', '"the worker was lost"'));
        when state = 'r' then
            perform rolegate.requeue_job(
                j, pg_catalog.clock_timestamp() + coalesce(
                    delay, rolegate.job_backoff(j.lane, j.attempt)), 'retry');
        when state = 'l' then
            perform rolegate.requeue_job(j, null, 'lost');
        when state = 's' then
            perform rolegate.requeue_job(j, pg_catalog.clock_timestamp() + delay, 'snooze');
        when state = 'b' then
            perform rolegate.requeue_job(j, null, 'released');
        when state = 'x' then
            perform rolegate.end_job(
                j, 'cancelled', coalesce(detail ->> 'reason', 'cancelled'), detail -> 'error');
    end case;
end
$$;
revoke execute on function rolegate.settle_attempt(integer, bigint, "char", jsonb) from public;

-- Ends attempts of this worker: `states` NULL is completed for all, `details` NULL is none for all,
-- `flags` are those of the jobs, NULL is zero for all. `claimed_at` is the claim's, as it was given:
-- after a crash of the server a claim that was lost may have its number given out again.
-- Returns which of them (from 1) had ended already and were left as they are.
create function rolegate.finish_jobs(
    worker bigint, claims bigint[], ordinals smallint[], claimed_at timestamptz[],
    states "char"[] default null, details jsonb[] default null, flags smallint[] default null
) returns integer[]
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    refused integer[];
    special integer[];
    limited integer[];
    n integer;
begin
    if pg_catalog.current_setting('transaction_isolation') <> 'read committed' then
        perform rolegate.need_read_committed();
    end if;
    -- As in claim_jobs().
    perform pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true),
        pg_catalog.set_config('jit', 'off', true);
    -- In order, or two that finish for each other's claims would wait in a circle.
    perform pg_catalog.pg_advisory_xact_lock(rolegate.claim_lock_key(c.claim))
    from (select distinct x.claim from pg_catalog.unnest(claims) x (claim) order by x.claim) c;
    with known as materialized (
        select k.id, k.at, pg_catalog.cardinality(k.jobs) as size
        from rolegate.job_claim k
        where k.id = any (array(select distinct x.claim from pg_catalog.unnest(claims) x (claim)))
            and k.worker = finish_jobs.worker
    ),
    given as materialized (
        select
            g.nth::integer as nth, g.claim, g.ordinal, coalesce(g.state, 'c') as state, g.detail,
            coalesce(g.flags, 0) as flags
        from unnest(claims, ordinals, claimed_at, states, details, flags)
            with ordinality g (claim, ordinal, claimed_at, state, detail, flags, nth)
        join known k on k.id = g.claim and k.at = g.claimed_at and g.ordinal between 1 and k.size
    ),
    closed as materialized (
        select o.claim, x.ordinal
        from rolegate.job_outcome o, pg_catalog.unnest(o.ordinals) x (ordinal)
        where o.claim = any (array(select k.id from known k))
    ),
    good as materialized (
        select g.* from given g
        -- Hashed. A join compares each with each, because the planner expects few elements of an array: a
        -- claim of hundreds that ends in small batches took six times as long.
        where (g.claim, g.ordinal) not in (select c.claim, c.ordinal from closed c)
    ),
    written as (
        insert into rolegate.job_outcome (claim, segment, ordinals, states, outputs)
        select
            g.claim, rolegate.write_segment(), pg_catalog.array_agg(g.ordinal),
            case when not pg_catalog.bool_and(g.state = 'c') then
                pg_catalog.array_agg(g.state) filter (where states is not null)
            end,
            case when not pg_catalog.bool_and(g.detail is null) then
                pg_catalog.array_agg(g.detail) filter (where details is not null)
            end
        from good g
        group by g.claim
    )
    select
        case
            when (select pg_catalog.count(*) from good) = pg_catalog.cardinality(claims) then '{}'
            else array(
                select n from pg_catalog.generate_series(1, pg_catalog.cardinality(claims)) n
                except select b.nth from good b
                order by 1)
        end,
        array(
            select b.nth from good b
            where (states is not null or flags is not null) and (b.state <> 'c' or b.flags & ~16 <> 0)
            order by b.nth),
        array(select b.nth from good b where flags is not null and b.flags & 16 <> 0)
    into refused, special, limited;

    -- One that is named twice would go two ways, or come back twice. Where all completed and held nothing, twice is
    -- once.
    if special <> '{}' then
        perform from unnest(claims, ordinals) x (claim, ordinal)
        group by x.claim, x.ordinal having pg_catalog.count(*) > 1;
        if found then
            raise exception using
                errcode = 'invalid_parameter_value', message = 'an attempt is named twice';
        end if;
    end if;
    foreach n in array special loop
        perform rolegate.settle_attempt(
            k.lane, k.jobs[ordinals[n]], coalesce(states[n], 'c'), details[n])
        from rolegate.job_claim k where k.id = claims[n];
    end loop;
    if limited <> '{}' then
        perform rolegate.leave_queue_places(array(
            select coalesce(j.root, j.id)
            from pg_catalog.unnest(limited) x (nth)
            join rolegate.job_claim k on k.id = claims[x.nth]
            join rolegate.job j on j.lane = k.lane and j.id = k.jobs[ordinals[x.nth]]));
    end if;
    return refused;
end
$$;
revoke execute on function rolegate.finish_jobs(
    bigint, bigint[], smallint[], timestamptz[], "char"[], jsonb[], smallint[]) from public;
grant execute on function rolegate.finish_jobs(
    bigint, bigint[], smallint[], timestamptz[], "char"[], jsonb[], smallint[]) to rolegate_worker;

-- Takes from a worker whatever it still has open, and forgets it. How many jobs that was.
create function rolegate.abandon_worker(worker bigint) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    w rolegate.job_worker;
    k record;
    lost smallint[];
    count integer := 0;
begin
    perform rolegate.need_read_committed();
    perform pg_catalog.set_config('jit', 'off', true);
    -- It may be claiming just now, if it is not dead but slow.
    perform pg_catalog.pg_advisory_xact_lock(rolegate.worker_lock_key(worker));
    delete from rolegate.job_worker x where x.id = worker returning * into w;
    if w.open_from is null then
        return 0;
    end if;
    for k in
        select c.id, c.lane, c.jobs from rolegate.job_claim c
        where c.id >= w.open_from and c.worker = w.id and c.jobs <> '{}'
        order by c.id
    loop
        perform pg_catalog.pg_advisory_xact_lock(rolegate.claim_lock_key(k.id));
        lost := array(
            select n::smallint from pg_catalog.generate_series(1, pg_catalog.cardinality(k.jobs)) n
            except
            select x.ordinal from rolegate.job_outcome o, pg_catalog.unnest(o.ordinals) x (ordinal)
            where o.claim = k.id
            order by 1);
        continue when lost = '{}';
        insert into rolegate.job_outcome (claim, segment, ordinals, states)
        values (
            k.id, rolegate.write_segment(), lost,
            pg_catalog.array_fill('l'::"char", array[pg_catalog.cardinality(lost)]));
        perform rolegate.settle_attempt(k.lane, k.jobs[n], 'l', null)
        from pg_catalog.unnest(lost) n;
        perform rolegate.leave_queue_places(array(
            select coalesce(j.root, j.id) from pg_catalog.unnest(lost) n
            join rolegate.job j on j.lane = k.lane and j.id = k.jobs[n]));
        count := count + pg_catalog.cardinality(lost);
    end loop;
    return count;
end
$$;
revoke execute on function rolegate.abandon_worker(bigint) from public;

-- A worker that stops by itself.
create function rolegate.unregister_worker(worker bigint) returns integer
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select rolegate.abandon_worker(worker) $$;
revoke execute on function rolegate.unregister_worker(bigint) from public;
grant execute on function rolegate.unregister_worker(bigint) to rolegate_worker;
