-- Lists and counts: what is in the queues, and who works on it. STABLE and without locks, as in V21.

-- For what of one queue is listed, counted and drained.
create index job_deferred_by_lane on rolegate.job_deferred (lane, root);

-- How far each lane has been handed out, seen from here. At and below `floor` everything is; above it
-- a row is not if its id is above `hi`, or neither `seen` nor the pass under way has come to it.
create function rolegate.lane_marks() returns table (
    queue integer, lane integer, floor bigint, hi bigint, seen pg_snapshot, pass pg_snapshot,
    pass_id bigint
)
language sql stable security definer rows 20
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select
        q.id, l.lane,
        coalesce(
            least(
                (
                    select min(o.low) from unnest(c.open_xids, c.open_low) o (x, low)
                    where pg_catalog.pg_visible_in_snapshot(o.x, pg_catalog.pg_current_snapshot())
                ),
                c.prev_last, c.hi),
            0),
        coalesce(c.hi, 0), c.seen, c.pass, c.pass_id
    from rolegate.job_queue q
    cross join pg_catalog.generate_series(q.id * 4, q.id * 4 + 3) l (lane)
    left join lateral (
        select k.* from rolegate.job_claim k where k.lane = l.lane
        order by k.hi desc, k.id desc limit 1
    ) c on true
$$;
revoke execute on function rolegate.lane_marks() from public;

-- The attempts that have not ended. Of more than 100,000 claims since the oldest open one, only the
-- first and the last half are looked at, and `complete` is false.
create function rolegate.open_attempts() returns table (
    claim bigint, ordinal smallint, lane integer, id bigint, worker bigint, claimed_at timestamptz,
    complete boolean
)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    with since as materialized (
        select min(w.open_from) as claim from rolegate.job_worker w
    ),
    first as materialized (
        select k.id, k.lane, k.worker, k.at, k.jobs from rolegate.job_claim k
        where k.id >= (select s.claim from since s)
        order by k.id limit 50000
    ),
    last as materialized (
        select k.id, k.lane, k.worker, k.at, k.jobs from rolegate.job_claim k
        where k.id > (select max(f.id) from first f)
        order by k.id desc limit 50001
    ),
    looked as (
        select f.* from first f union all (select t.* from last t order by t.id desc limit 50000)
    ),
    closed as materialized (
        select o.claim, pg_catalog.sum(pg_catalog.cardinality(o.ordinals)) as n
        from rolegate.job_outcome o
        where o.claim >= (select s.claim from since s)
            and (
                o.claim <= (select max(f.id) from first f)
                or o.claim >= (select min(t.id) from last t))
        group by o.claim
    )
    select
        k.id, n.nth::smallint, k.lane, n.id, k.worker, k.at,
        (select pg_catalog.count(*) <= 50000 from last)
    from looked k
    left join closed c on c.claim = k.id
    cross join lateral pg_catalog.unnest(k.jobs) with ordinality n (id, nth)
    where pg_catalog.cardinality(k.jobs) > coalesce(c.n, 0)
        and not exists (
            select from rolegate.job_outcome o
            where o.claim = k.id and n.nth::smallint = any (o.ordinals))
$$;
revoke execute on function rolegate.open_attempts() from public;

-- Jobs of a state, newest place first, as rows of the lists below. Looks at 20,000 jobs at most;
-- where it stopped is the last row's `next_before`, and that row has nothing else if no job was there.
create function rolegate.list_places(
    only_state text, only_queue text, only_kind text, only_tag text, dead_letters boolean,
    before_id bigint, max_rows integer
) returns table (
    id bigint, state text, queue text, kind text, priority integer, attempt integer,
    max_attempts integer, reason text, error jsonb, dead_letter boolean, enqueued_at timestamptz,
    run_at timestamptz, claimed_at timestamptz, ended_at timestamptz, enqueued_by text,
    next_before bigint
)
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    window_size constant bigint := 10000;
    everybodys constant boolean := rolegate.sees_all_jobs();
    mine bigint[] := '{}';
    others bigint[] := '{}';
    below bigint := coalesce(before_id, 9223372036854775807);
    top bigint;
    low bigint;
    lanes integer[];
    floors bigint[];
    looked integer := 0;
    found_rows integer := 0;
    in_ring constant boolean := not dead_letters
        and (only_state is null or only_state in ('available', 'completed'));
    in_deferred constant boolean := not dead_letters
        and (only_state is null or only_state in ('scheduled', 'retryable', 'available'));
    in_parked constant boolean := not dead_letters
        and (only_state is null or only_state in ('waiting_external', 'completed'));
    in_ended constant boolean := only_state is null or only_state in ('failed', 'cancelled');
    open_lanes integer[];
    open_ids bigint[];
    jit constant text := pg_catalog.current_setting('jit');
    r record;
    s record;
begin
    if (max_rows between 1 and 1000) is not true then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'max_rows is 1 to 1000';
    end if;
    if only_state is not null and only_state not in (
        'scheduled', 'available', 'running', 'waiting_external', 'retryable', 'completed', 'failed',
        'cancelled')
    then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = pg_catalog.format('there is no state %L', only_state),
            hint = 'scheduled, available, running, waiting_external, retryable, completed, failed or '
                'cancelled.';
    end if;
    -- Compiling would take longer than looking.
    perform pg_catalog.set_config('jit', 'off', true);
    select
        pg_catalog.array_agg(m.lane),
        pg_catalog.array_agg(case when only_state = 'available' then m.floor else 0 end)
    into lanes, floors
    from rolegate.lane_marks() m
    where only_queue is null or m.queue = rolegate.queue_id(only_queue);
    if only_state = 'running' then
        select pg_catalog.array_agg(o.lane), pg_catalog.array_agg(o.id) into open_lanes, open_ids
        from rolegate.open_attempts() o where o.lane = any (lanes);
    end if;

    loop
        -- The next job below, so that what is empty costs nothing.
        top := greatest(
            case
                when only_state = 'running' then (
                    select max(o.id) from pg_catalog.unnest(open_ids) o (id) where o.id < below)
                when in_ring then (
                    select max(m.id)
                    from unnest(lanes, floors) l (lane, floor), lateral (
                        select j.id from rolegate.job j
                        where j.lane = l.lane and j.id < below and j.id > l.floor
                        order by j.id desc limit 1
                    ) m)
            end,
            case when in_deferred then (
                select max(m.root)
                from pg_catalog.unnest(lanes) l (lane), lateral (
                    select d.root from rolegate.job_deferred d
                    where d.lane = l.lane and d.root < below
                    order by d.root desc limit 1
                ) m)
            end,
            case when in_parked then (
                select p.root from rolegate.job_parked p
                where p.root < below order by p.root desc limit 1)
            end,
            case when dead_letters then (
                select max(m.root)
                from pg_catalog.unnest(lanes) l (lane), lateral (
                    select e.root from rolegate.job_ended e
                    where e.dead_letter and e.lane = l.lane and e.root < below
                    order by e.root desc limit 1
                ) m)
            when in_ended then (
                select e.root from rolegate.job_ended e
                where e.root < below order by e.root desc limit 1)
            end);
        exit when top is null;
        if looked >= window_size then
            return query select
                null::bigint, null, null, null, null::integer, null::integer, null::integer, null,
                null::jsonb, null::boolean, null::timestamptz, null::timestamptz, null::timestamptz,
                null::timestamptz, null, below;
            exit;
        end if;
        -- Ids are unique, so a range of them is a bound for the rows.
        low := case when only_state = 'running' then 0 else top - top % window_size end;
        looked := looked + 100;
        for r in
            select
                u.*, q.name as queue, p.role_name,
                -- Nobody who asks for none pays for taking options apart.
                case when only_tag is not null then (u.options -> 'tags' ? only_tag) is true else true end
                    as tagged
            from (
                select
                    j.id as place, coalesce(j.root, j.id) as root, j.xid, j.lane, j.attempt,
                    j.max_attempts, j.kind, j.principal, j.enqueued_at, null::text as state,
                    null::text as reason, null::jsonb as error, null::timestamptz as run_at,
                    null::timestamptz as claimed_at, null::timestamptz as ended_at,
                    false as dead_letter, j.options,
                    (
                        j.id <= m.hi and (
                            pg_catalog.pg_visible_in_snapshot(j.xid, m.seen)
                            or (j.id <= m.pass_id
                                and pg_catalog.pg_visible_in_snapshot(j.xid, m.pass)))
                    ) is true as handed_out
                from rolegate.lane_marks() m
                join unnest(lanes, floors) l (lane, floor) on l.lane = m.lane
                join rolegate.job j on j.lane = m.lane and j.id > l.floor
                where in_ring and j.id >= low and j.id < below
                union all
                select
                    j.id, coalesce(j.root, j.id), j.xid, j.lane, j.attempt, j.max_attempts, j.kind,
                    j.principal, j.enqueued_at, null, null, null, null, null, null, false, j.options, true
                from unnest(open_lanes, open_ids) o (lane, id)
                join rolegate.job j on j.lane = o.lane and j.id = o.id
                where o.id < below
                union all
                select
                    d.root, d.root, null, d.lane, d.attempt, d.max_attempts, d.kind, d.principal,
                    d.enqueued_at,
                    case
                        when d.waits_for like 'c:%' then 'scheduled'
                        when d.waits_for is not null then 'available'
                        when d.reason = 'retry' then 'retryable' else 'scheduled'
                    end,
                    d.reason, null, case when d.waits_for is null then d.run_at end, null, null, false,
                    d.options, null
                from rolegate.job_deferred d
                where in_deferred and d.root >= low and d.root < below
                union all
                select
                    k.root, k.root, null, k.lane, k.attempt, k.max_attempts, k.kind, k.principal,
                    k.enqueued_at,
                    case when k.state = 'completed' then 'completed' else 'waiting_external' end,
                    null, null, null, k.parked_at, k.ended_at, false, k.options, null
                from rolegate.job_parked k
                where in_parked and k.root >= low and k.root < below
                union all
                select
                    e.root, e.root, null, e.lane, e.attempt, e.max_attempts, e.kind, e.principal,
                    e.enqueued_at, e.state, e.reason, e.error, null, null, e.ended_at, e.dead_letter,
                    e.options, null
                from rolegate.job_ended e
                where in_ended and e.root >= low and e.root < below
                    and (e.dead_letter or not dead_letters)
            ) u
            join rolegate.job_queue q on q.id = u.lane / 4
            join rolegate.job_principal p on p.id = u.principal
            where u.lane = any (lanes)
            order by u.place desc
        loop
            exit when found_rows >= max_rows;
            looked := looked + 1;
            continue when r.kind <> only_kind or not r.tagged;
            if not everybodys and r.principal <> all (mine) then
                continue when r.principal = any (others);
                if not rolegate.owns_job(r.principal) then
                    others := others || r.principal;
                    continue;
                end if;
                mine := mine || r.principal;
            end if;
            state := r.state;
            claimed_at := r.claimed_at;
            ended_at := r.ended_at;
            if not r.handed_out then
                state := case
                    when not exists (select from rolegate.job_tombstone t where t.id = r.place)
                        then 'available'
                end;
            elsif r.handed_out then
                continue when only_state = 'available';
                select * into s from rolegate.ring_state(r.lane, r.place, r.xid) x;
                state := s.state;
                claimed_at := s.claimed_at;
                ended_at := s.ended_at;
            end if;
            continue when state is null or state <> only_state;
            id := r.root;
            queue := r.queue;
            kind := r.kind;
            priority := r.lane % 4 + 1;
            attempt := r.attempt + case
                when state in ('running', 'waiting_external', 'completed') then 1 else 0 end;
            max_attempts := r.max_attempts;
            reason := r.reason;
            error := r.error;
            dead_letter := r.dead_letter;
            enqueued_at := r.enqueued_at;
            run_at := r.run_at;
            enqueued_by := r.role_name;
            next_before := r.place;
            return next;
            found_rows := found_rows + 1;
        end loop;
        exit when found_rows >= max_rows;
        below := low;
    end loop;
    perform pg_catalog.set_config('jit', jit, true);
end
$$;
revoke execute on function rolegate.list_places(text, text, text, text, boolean, bigint, integer) from public;

-- Jobs for whoever may see them, newest place first. The next page is what is below the last row's
-- `next_before`; a last row without an id says that there may be more below, but none was found yet.
create function rolegate.list_jobs(
    only_state text default null, only_queue text default null, only_kind text default null,
    only_tag text default null, before_id bigint default null, max_rows integer default 100
) returns table (
    id bigint, state text, queue text, kind text, priority integer, attempt integer,
    max_attempts integer, reason text, dead_letter boolean, enqueued_at timestamptz,
    run_at timestamptz, claimed_at timestamptz, ended_at timestamptz, enqueued_by text,
    next_before bigint
)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select
        l.id, l.state, l.queue, l.kind, l.priority, l.attempt, l.max_attempts, l.reason,
        l.dead_letter, l.enqueued_at, l.run_at, l.claimed_at, l.ended_at, l.enqueued_by, l.next_before
    from rolegate.list_places($1, $2, $3, $4, false, $5, $6) l
$$;
revoke execute on function rolegate.list_jobs(text, text, text, text, bigint, integer) from public;
grant execute on function rolegate.list_jobs(text, text, text, text, bigint, integer)
    to rolegate_producer, rolegate_viewer, rolegate_operator;

-- Jobs that failed for good and are kept for people, as above.
create function rolegate.dead_letters(
    only_queue text default null, only_kind text default null, only_tag text default null,
    before_id bigint default null, max_rows integer default 100
) returns table (
    id bigint, queue text, kind text, priority integer, attempt integer, max_attempts integer,
    reason text, error jsonb, enqueued_at timestamptz, ended_at timestamptz, enqueued_by text,
    next_before bigint
)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select
        l.id, l.queue, l.kind, l.priority, l.attempt, l.max_attempts, l.reason, l.error,
        l.enqueued_at, l.ended_at, l.enqueued_by, l.next_before
    from rolegate.list_places('failed', $1, $2, $3, true, $4, $5) l
$$;
revoke execute on function rolegate.dead_letters(text, text, text, bigint, integer) from public;
grant execute on function rolegate.dead_letters(text, text, text, bigint, integer)
    to rolegate_producer, rolegate_viewer, rolegate_operator;

-- Queues, their settings, and what is in them. Of each lane (and of what waits for an answer, of all
-- queues) 100,000 jobs are counted; `at_least` has the states of which there may be more. `blocked`:
-- of those available, what waits for a place of its key.
create function rolegate.queues() returns table (
    queue text, paused_at timestamptz, paused_by text, aging interval, dead_letters_kept boolean,
    backoff interval, max_backoff interval, available bigint, running bigint, scheduled bigint,
    retryable bigint, waiting_external bigint, dead_letters bigint, oldest_available interval,
    at_least text[], blocked bigint, limits jsonb
)
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    most constant bigint := 100000;
    jit constant text := pg_catalog.current_setting('jit');
begin
    perform pg_catalog.set_config('jit', 'off', true);
    return query
    with marks as materialized (
        select m.* from rolegate.lane_marks() m
    ),
    waiting as (
        select m.queue, a.n, first.enqueued_at
        from marks m,
            lateral (
                select pg_catalog.count(*) as n
                from (
                    select j.id from rolegate.job j
                    where j.lane = m.lane and j.id > m.floor
                        and (
                            j.id <= m.hi and (
                                pg_catalog.pg_visible_in_snapshot(j.xid, m.seen)
                                or (j.id <= m.pass_id
                                    and pg_catalog.pg_visible_in_snapshot(j.xid, m.pass)))
                        ) is not true
                        and not exists (select from rolegate.job_tombstone t where t.id = j.id)
                    order by j.id limit most
                ) b
            ) a
            left join lateral (
                select j.enqueued_at from rolegate.job j
                where a.n > 0 and j.lane = m.lane and j.id > m.floor
                    and (
                        j.id <= m.hi and (
                            pg_catalog.pg_visible_in_snapshot(j.xid, m.seen)
                            or (j.id <= m.pass_id
                                and pg_catalog.pg_visible_in_snapshot(j.xid, m.pass)))
                    ) is not true
                    and not exists (select from rolegate.job_tombstone t where t.id = j.id)
                order by j.id limit 1
            ) first on true
    ),
    available as (
        select
            w.queue, pg_catalog.sum(w.n)::bigint as n, min(w.enqueued_at) as oldest,
            pg_catalog.bool_or(w.n >= most) as more
        from waiting w group by w.queue
    ),
    running as (
        select o.lane / 4 as queue, pg_catalog.count(*) as n, not pg_catalog.bool_and(o.complete) as more
        from rolegate.open_attempts() o group by o.lane / 4
    ),
    deferred as (
        select
            m.queue,
            pg_catalog.count(*) filter (where d.waits_for not like 'c:%') as blocked,
            min(d.enqueued_at) filter (where d.waits_for not like 'c:%') as oldest_blocked,
            pg_catalog.count(*) filter (where d.waits_for is null and d.reason = 'retry') as retryable,
            pg_catalog.count(*) filter (
                where d.waits_for like 'c:%'
                    or d.waits_for is null and d.reason is distinct from 'retry') as scheduled,
            pg_catalog.bool_or(d.nth >= most) as more
        from marks m, lateral (
            select x.*, pg_catalog.row_number() over () as nth
            from (
                select y.reason, y.waits_for, y.enqueued_at from rolegate.job_deferred y
                where y.lane = m.lane limit most
            ) x
        ) d
        group by m.queue
    ),
    dead as (
        select m.queue, pg_catalog.count(*) as n, pg_catalog.count(*) >= most as more
        from marks m, lateral (
            select from rolegate.job_ended e where e.dead_letter and e.lane = m.lane limit most
        ) d
        group by m.queue
    ),
    looked as materialized (
        select p.lane / 4 as queue from rolegate.job_parked p where p.state = 'waiting' limit most
    ),
    parked as (
        select l.queue, pg_catalog.count(*) as n from looked l group by l.queue
    )
    select
        q.name, q.paused_at, q.paused_by, q.aging, q.dead_letters, q.backoff, q.max_backoff,
        coalesce(a.n, 0) + coalesce(d.blocked, 0), coalesce(r.n, 0), coalesce(d.scheduled, 0),
        coalesce(d.retryable, 0), coalesce(p.n, 0), coalesce(x.n, 0),
        pg_catalog.clock_timestamp() - least(a.oldest, d.oldest_blocked),
        pg_catalog.array_remove(array[
            case when a.more or d.more then 'available' end, case when r.more then 'running' end,
            case when d.more then 'scheduled' end, case when d.more then 'retryable' end,
            case when (select pg_catalog.count(*) >= most from looked) then 'waiting_external' end,
            case when x.more then 'dead_letters' end], null),
        coalesce(d.blocked, 0),
        pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
            'concurrency', q.concurrency, 'rate', q.rate, 'burst', q.burst,
            'key_concurrency', q.key_concurrency, 'key_rate', q.key_rate, 'key_burst', q.key_burst))
    from rolegate.job_queue q
    left join available a on a.queue = q.id
    left join running r on r.queue = q.id
    left join deferred d on d.queue = q.id
    left join parked p on p.queue = q.id
    left join dead x on x.queue = q.id
    order by q.name;
    perform pg_catalog.set_config('jit', jit, true);
end
$$;
revoke execute on function rolegate.queues() from public;
grant execute on function rolegate.queues() to rolegate_viewer, rolegate_operator;

-- Processes that claim, and how many attempts each has open.
create function rolegate.workers() returns table (
    id bigint, name text, version text, queues text[], started_at timestamptz, seen_at timestamptz,
    running bigint, oldest_claimed_at timestamptz
)
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    jit constant text := pg_catalog.current_setting('jit');
begin
    perform pg_catalog.set_config('jit', 'off', true);
    return query
    select
        w.id, w.name, w.version, w.queues, w.started_at, w.seen_at, coalesce(o.n, 0), o.oldest
    from rolegate.job_worker w
    left join (
        select a.worker, pg_catalog.count(*) as n, min(a.claimed_at) as oldest
        from rolegate.open_attempts() a group by a.worker
    ) o on o.worker = w.id
    order by w.id;
    perform pg_catalog.set_config('jit', jit, true);
end
$$;
revoke execute on function rolegate.workers() from public;
grant execute on function rolegate.workers() to rolegate_viewer, rolegate_operator;
