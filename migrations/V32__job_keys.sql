-- Limits that all workers keep together: how many jobs of a queue, or of one key in it, run at a time
-- (places), and how many begin in a second (rates).
--
-- A job with a key is let in when it is claimed: it takes a place of its key, or is put aside (among the
-- deferred, `waits_for` its key) until whoever leaves a place lets the next one in. Places are given
-- away under the queue's gate, a lock that is never waited for: who can't have it leaves an opening, a
-- note that somebody has to look, and the next claim of the queue does. So nothing here can deadlock,
-- and producers do none of it.

-- Whose place it is. The key is '' for the queue itself, else `o:` and an ordering key or `l:` and a
-- limit key. (`c:` and a job in an opening: that job's children, see V38.)
create table rolegate.job_place (
    queue integer not null,
    key text collate "C" not null,
    root bigint not null,
    primary key (queue, key, root)
);
create index job_place_root on rolegate.job_place (root);

-- A key of which a place was left, or a job put aside, by somebody who did not have the gate.
create table rolegate.job_opening (
    queue integer not null,
    key text collate "C" not null
);
create index job_opening_queue on rolegate.job_opening (queue);

-- The generic cell rate algorithm: the time at which nothing that was begun counts any more.
create table rolegate.job_rate (
    queue integer not null,
    key text collate "C" not null,
    free_at timestamptz not null,
    primary key (queue, key)
);

create function rolegate.gate_lock_key(queue integer) returns bigint
language sql immutable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select (x'524a47'::bigint << 40) + queue $$;
revoke execute on function rolegate.gate_lock_key(integer) from public;

-- How many may begin now at this rate, and when the next one may. `burst` NULL: those of one second.
create function rolegate.rate_room(
    free_at timestamptz, rate float8, burst integer, out room integer, out next_at timestamptz
)
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select
        least(pg_catalog.floor(
            b.burst - extract(epoch from greatest(free_at, b.now) - b.now) * rate + 1e-6), 1e6)::integer,
        greatest(free_at, b.now) - pg_catalog.make_interval(secs => (b.burst - 1) / rate)
    from (
        select
            coalesce(burst, greatest(pg_catalog.ceil(rate), 1))::float8 as burst,
            pg_catalog.clock_timestamp() as now
    ) b
$$;
revoke execute on function rolegate.rate_room(timestamptz, float8, integer) from public;

-- So many have begun.
create function rolegate.use_rate(queue integer, key text, rate float8, begun integer) returns void
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    insert into rolegate.job_rate as r (queue, key, free_at)
    values (
        use_rate.queue, use_rate.key,
        pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => begun / rate))
    on conflict (queue, key) do update set
        free_at = greatest(r.free_at, pg_catalog.clock_timestamp())
            + pg_catalog.make_interval(secs => begun / rate)
$$;
revoke execute on function rolegate.use_rate(integer, text, float8, integer) from public;

-- What the limits of the queue leave of `wanted`; the gate is the claim's from here on. NULL: somebody
-- else has it. `next_at`: when its rate leaves more.
create function rolegate.queue_room(
    queue integer, wanted integer, out room integer, out next_at timestamptz
)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    q rolegate.job_queue;
    by_rate record;
begin
    if not pg_catalog.pg_try_advisory_xact_lock(rolegate.gate_lock_key(queue)) then
        return;
    end if;
    select * into strict q from rolegate.job_queue x where x.id = queue_room.queue;
    room := wanted;
    if q.concurrency is not null then
        room := least(room, q.concurrency - (
            select pg_catalog.count(*) from rolegate.job_place p where p.queue = q.id and p.key = ''));
    end if;
    if q.rate is not null and room > 0 then
        select * into by_rate from rolegate.rate_room(
            (select r.free_at from rolegate.job_rate r where r.queue = q.id and r.key = ''),
            q.rate, q.burst);
        if by_rate.room <= 0 then
            next_at := by_rate.next_at;
        end if;
        room := least(room, by_rate.room);
    end if;
end
$$;
revoke execute on function rolegate.queue_room(integer, integer) from public;

-- What the lane's newest claim gave to its worker has places of the queue, and counts for its rate.
create function rolegate.take_queue_places(queue integer, lane integer, taken integer) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    q rolegate.job_queue;
begin
    select * into strict q from rolegate.job_queue x where x.id = take_queue_places.queue;
    if q.concurrency is not null then
        insert into rolegate.job_place (queue, key, root)
        select q.id, '', coalesce(j.root, j.id)
        from (
            select k.id, k.jobs from rolegate.job_claim k where k.lane = take_queue_places.lane
            order by k.hi desc, k.id desc limit 1
        ) k
        cross join pg_catalog.unnest(k.jobs) with ordinality n (id, nth)
        join rolegate.job j on j.lane = take_queue_places.lane and j.id = n.id
        where not exists (
                select from rolegate.job_outcome o where o.claim = k.id and n.nth = any (o.ordinals))
            and not exists (select from rolegate.job_tombstone t where t.id = n.id)
        on conflict do nothing;
    end if;
    if q.rate is not null then
        perform rolegate.use_rate(q.id, '', q.rate, taken);
    end if;
end
$$;
revoke execute on function rolegate.take_queue_places(integer, integer, integer) from public;

-- These jobs don't run any more.
create function rolegate.leave_queue_places(roots bigint[]) returns void
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    with gone as (
        delete from rolegate.job_place p where p.root = any (roots) and p.key = '' returning p.queue
    )
    select rolegate.wake(g.queue) from (select distinct queue from gone) g
$$;
revoke execute on function rolegate.leave_queue_places(bigint[]) from public;

-- How many may have a place of this key. NULL: any number.
create function rolegate.key_places(queue integer, key text) returns integer
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select case
        when key like 'o:%' then 1
        else (select q.key_concurrency from rolegate.job_queue q where q.id = queue)
    end
$$;
revoke execute on function rolegate.key_places(integer, text) from public;

-- Whether a claimed job with a key may begin. If not it is put aside, and the attempt has ended.
create function rolegate.admit_job(
    claim bigint, ordinal smallint, id bigint, root bigint, enqueued_at timestamptz, lane integer,
    attempt smallint, max_attempts smallint, flags smallint, kind text, principal bigint, args jsonb,
    options jsonb
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    its_queue constant integer := lane / 4;
    name constant bigint := coalesce(root, id);
    its_key constant text := coalesce(
        'o:' || (options ->> 'ordering_key'), 'l:' || (options ->> 'limit_key'));
    places integer;
    gate boolean;
    limits record;
    start record;
    begins_at timestamptz;
begin
    if not exists (
        select from rolegate.job_place p
        where p.queue = its_queue and p.key = its_key and p.root = name)
    then
        places := rolegate.key_places(its_queue, its_key);
        gate := pg_catalog.pg_try_advisory_xact_lock(rolegate.gate_lock_key(its_queue));
        if not gate
            or places <= (
                select pg_catalog.count(*)
                from (
                    select from rolegate.job_place p
                    where p.queue = its_queue and p.key = its_key limit places
                ) p)
            or exists (
                select from rolegate.job_deferred d
                where d.lane / 4 = its_queue and d.waits_for = its_key)
        then
            insert into rolegate.job_deferred (
                root, run_at, reason, enqueued_at, lane, attempt, max_attempts, flags, kind, principal,
                args, options, waits_for)
            values (
                name, 'infinity',
                case when its_key like 'o:%' then 'ordering_key' else 'limit_key' end, enqueued_at, lane,
                attempt, max_attempts, flags, kind, principal, args, options, its_key);
            if not gate then
                insert into rolegate.job_opening (queue, key) values (its_queue, its_key);
            end if;
            insert into rolegate.job_outcome (claim, segment, ordinals, states)
            values (claim, rolegate.write_segment(), array[ordinal], array['p'::"char"]);
            return false;
        end if;
        insert into rolegate.job_place (queue, key, root) values (its_queue, its_key, name);
    end if;

    if flags & 32 = 0 and its_key like 'l:%' then
        select q.key_rate, q.key_burst into limits from rolegate.job_queue q where q.id = its_queue;
        if limits.key_rate is not null then
            select * into start from rolegate.rate_room(
                (
                    select r.free_at from rolegate.job_rate r
                    where r.queue = its_queue and r.key = its_key
                ),
                limits.key_rate, limits.key_burst);
            perform rolegate.use_rate(its_queue, its_key, limits.key_rate, 1);
            if start.room <= 0 then
                -- Its time is its own now, and so is its place.
                insert into rolegate.job_deferred (
                    root, run_at, reason, enqueued_at, lane, attempt, max_attempts, flags, kind,
                    principal, args, options)
                values (
                    name, start.next_at, 'limit_key', enqueued_at, lane, attempt, max_attempts,
                    flags | 32::smallint, kind, principal, args, options);
                insert into rolegate.job_outcome (claim, segment, ordinals, states)
                values (claim, rolegate.write_segment(), array[ordinal], array['p'::"char"]);
                perform rolegate.wake_promoter();
                return false;
            end if;
        end if;
    end if;
    return true;
end
$$;
revoke execute on function rolegate.admit_job(
    bigint, smallint, bigint, bigint, timestamptz, integer, smallint, smallint, smallint, text, bigint,
    jsonb, jsonb) from public;

-- Gives the free places of a key to those that wait for one, first come first served. The caller has
-- the gate.
create function rolegate.fill_places(queue integer, key text) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    places constant integer := rolegate.key_places(queue, key);
    free integer;
    filled integer;
begin
    if places is not null then
        free := places - (
            select pg_catalog.count(*)
            from (
                select from rolegate.job_place p
                where p.queue = fill_places.queue and p.key = fill_places.key limit places
            ) p);
    end if;
    with next as (
        select d.root from rolegate.job_deferred d
        where d.lane / 4 = fill_places.queue and d.waits_for = fill_places.key
        order by d.root limit free
        for update
    ),
    gone as (
        delete from rolegate.job_deferred d using next n where d.root = n.root returning d.*
    ),
    placed as (
        insert into rolegate.job_place (queue, key, root)
        select fill_places.queue, fill_places.key, g.root from gone g
    )
    -- How long it has waited counts.
    insert into rolegate.job (
        root, enqueued_at, lane, segment, attempt, max_attempts, flags, kind, principal, args, options)
    select
        g.root, g.enqueued_at, g.lane, rolegate.write_segment(), g.attempt, g.max_attempts, g.flags,
        g.kind, g.principal, g.args, g.options
    from gone g
    order by g.root;
    get diagnostics filled = row_count;
    return filled;
end
$$;
revoke execute on function rolegate.fill_places(integer, text) from public;

-- Looks at the keys of a queue that somebody noted. True if jobs came back to their lanes.
create function rolegate.use_openings(queue integer) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    noted text;
    filled integer := 0;
begin
    if not pg_catalog.pg_try_advisory_xact_lock(rolegate.gate_lock_key(queue)) then
        return false;
    end if;
    for noted in
        with gone as (
            delete from rolegate.job_opening o
            where o.ctid = any (array(
                select x.ctid from rolegate.job_opening x where x.queue = use_openings.queue limit 1000))
            returning o.key
        )
        select distinct g.key from gone g
    loop
        filled := filled + case
            when noted like 'c:%' then rolegate.look_at_children(pg_catalog.substr(noted, 3)::bigint)
            else rolegate.fill_places(queue, noted)
        end;
    end loop;
    return filled > 0;
end
$$;
revoke execute on function rolegate.use_openings(integer) from public;

-- The job does not run any more; `over`: and never will. An ordering key stays its own until then, or
-- the next one would come before its retry.
create function rolegate.leave_places(root bigint, over boolean) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    left_place record;
begin
    for left_place in
        delete from rolegate.job_place p
        where p.root = leave_places.root and p.key <> '' and (over or p.key like 'l:%')
        returning p.queue, p.key
    loop
        if pg_catalog.pg_try_advisory_xact_lock(rolegate.gate_lock_key(left_place.queue)) then
            perform rolegate.fill_places(left_place.queue, left_place.key);
        else
            insert into rolegate.job_opening (queue, key) values (left_place.queue, left_place.key);
        end if;
        perform rolegate.wake(left_place.queue);
    end loop;
end
$$;
revoke execute on function rolegate.leave_places(bigint, boolean) from public;

-- NULL keeps a limit, 0 takes it away. What runs already goes on.
create function rolegate.set_queue_limits(
    queue text, concurrency integer default null, rate float8 default null, burst integer default null,
    key_concurrency integer default null, key_rate float8 default null, key_burst integer default null
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    queue_id constant integer := rolegate.queue_id(queue);
begin
    update rolegate.job_queue q set
        concurrency = nullif(coalesce(set_queue_limits.concurrency, q.concurrency), 0),
        rate = nullif(coalesce(set_queue_limits.rate, q.rate), 0),
        burst = nullif(coalesce(set_queue_limits.burst, q.burst), 0),
        key_concurrency = nullif(coalesce(set_queue_limits.key_concurrency, q.key_concurrency), 0),
        key_rate = nullif(coalesce(set_queue_limits.key_rate, q.key_rate), 0),
        key_burst = nullif(coalesce(set_queue_limits.key_burst, q.key_burst), 0)
    where q.id = queue_id;
    -- There may be places for those that wait.
    insert into rolegate.job_opening (queue, key)
    select distinct queue_id, d.waits_for from rolegate.job_deferred d
    where d.lane / 4 = queue_id and d.waits_for like 'l:%';
    perform pg_catalog.pg_notify('rolegate_jobs', queue_id::text);
end
$$;
revoke execute on function rolegate.set_queue_limits(
    text, integer, float8, integer, integer, float8, integer) from public;
grant execute on function rolegate.set_queue_limits(
    text, integer, float8, integer, integer, float8, integer) to rolegate_operator;

-- The keys of a queue that have a place or wait for one, those with most waiting first.
create function rolegate.queue_keys(queue text, max_rows integer default 100) returns table (
    ordering_key text, limit_key text, placed bigint, waiting bigint, oldest_waiting interval
)
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    queue_id constant integer := rolegate.queue_id(queue);
begin
    if (max_rows between 1 and 1000) is not true then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'max_rows is 1 to 1000';
    end if;
    return query
    select
        case when k.key like 'o:%' then pg_catalog.substr(k.key, 3) end,
        case when k.key like 'l:%' then pg_catalog.substr(k.key, 3) end,
        pg_catalog.count(*) filter (where k.placed), pg_catalog.count(*) filter (where not k.placed),
        pg_catalog.clock_timestamp() - min(k.enqueued_at)
    from (
        select p.key, true as placed, null::timestamptz as enqueued_at
        from rolegate.job_place p where p.queue = queue_id and p.key <> ''
        union all
        select d.waits_for, false, d.enqueued_at
        from rolegate.job_deferred d where d.lane / 4 = queue_id and d.waits_for not like 'c:%'
    ) k
    group by k.key
    order by 4 desc, 3 desc, k.key
    limit max_rows;
end
$$;
revoke execute on function rolegate.queue_keys(text, integer) from public;
grant execute on function rolegate.queue_keys(text, integer) to rolegate_viewer, rolegate_operator;
