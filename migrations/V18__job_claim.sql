-- Workers, and how a batch of jobs gets to one.

-- The advisory lock under which a lane is claimed from, and anything is decided about what in it is
-- claimed already.
create function rolegate.lane_lock_key(lane integer) returns bigint
language plpgsql immutable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    return (x'524a4c'::bigint << 40) + lane;
end
$$;
revoke execute on function rolegate.lane_lock_key(integer) from public;

-- Shared while a worker claims, exclusive while its claims are taken from it.
create function rolegate.worker_lock_key(worker bigint) returns bigint
language plpgsql immutable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    return (x'524a57'::bigint << 40) + worker;
end
$$;
revoke execute on function rolegate.worker_lock_key(bigint) from public;

-- The worker's id, and those of the queues, in their order. Queues that are not there are made: who
-- may run a worker may say what it works on.
create function rolegate.register_worker(
    name text, version text, queues text[], out worker bigint, out queue_ids integer[]
)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    queue text;
begin
    perform rolegate.adopt_jobs();
    foreach queue in array queues loop
        if not exists (select from rolegate.job_queue q where q.name = queue) then
            perform rolegate.create_queue(queue);
        end if;
    end loop;
    insert into rolegate.job_worker as w (name, version, queues)
    values (register_worker.name, register_worker.version, register_worker.queues)
    returning w.id into strict worker;
    select pg_catalog.array_agg(q.id order by n.nth) into strict queue_ids
    from pg_catalog.unnest(queues) with ordinality n (name, nth)
    join rolegate.job_queue q on q.name = n.name;
end
$$;
revoke execute on function rolegate.register_worker(text, text, text[]) from public;
grant execute on function rolegate.register_worker(text, text, text[]) to rolegate_worker;

-- Closes what the lane's newest claim took of cancelled and moved jobs. False if there is no claim
-- after `last_claim`.
create function rolegate.close_buried(lane integer, last_claim bigint, segment smallint) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    c rolegate.job_claim;
begin
    select * into c from rolegate.job_claim k where k.lane = close_buried.lane
    order by k.hi desc, k.id desc limit 1;
    if c.id is not distinct from last_claim then
        return false;
    end if;
    with gone as (
        delete from rolegate.job_tombstone t where t.id = any (c.jobs) returning t.id, t.state
    ),
    named as (
        select n.nth::smallint as nth, g.state
        from pg_catalog.unnest(c.jobs) with ordinality n (id, nth) join gone g on g.id = n.id
    )
    insert into rolegate.job_outcome (claim, segment, ordinals, states)
    select
        c.id, close_buried.segment, pg_catalog.array_agg(n.nth order by n.nth),
        pg_catalog.array_agg(n.state order by n.nth)
    from named n
    having pg_catalog.count(*) > 0;
    return true;
end
$$;
revoke execute on function rolegate.close_buried(integer, bigint, smallint) from public;

-- A pass over late rows is over: the cursor stands where it looked.
create function rolegate.end_pass(c rolegate.job_claim, worker bigint, segment smallint) returns void
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    insert into rolegate.job_claim (
        segment, lane, worker, seen, hi, open_xids, open_low, last, prev_last, jobs)
    select
        segment, (c).lane, worker, (c).pass, (c).hi, coalesce(pg_catalog.array_agg(v.x), '{}'),
        coalesce(pg_catalog.array_agg(coalesce(k.low, (c).prev_last)), '{}'), (c).last,
        (c).prev_last, '{}'
    from pg_catalog.pg_snapshot_xip((c).pass) v (x)
    left join unnest((c).open_xids, (c).open_low) k (x, low) on k.x = v.x
$$;
revoke execute on function rolegate.end_pass(rolegate.job_claim, bigint, smallint) from public;

-- Which of the workers' queues come first in this claim is their business: `queues` is in order.
-- A row without a claim says: look again, at once (`id` is 0: another claim was at work in a lane, or
-- there was other work to do first) or in `id` milliseconds (the queue's rate has to be kept).
create function rolegate.claim_jobs(worker bigint, queues integer[], most integer)
returns table (
    claim bigint, claimed_at timestamptz, ordinal smallint, id bigint, root bigint, lane integer,
    attempt smallint, max_attempts smallint, flags smallint, kind text, principal bigint, args text,
    options text, enqueued_at timestamptz
)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    queue record;
    next_lane integer;
    c rolegate.job_claim;
    wanted integer := most;
    -- Of `wanted`, what the queue's limits leave; NULL before that is asked.
    room integer;
    again_at timestamptz;
    -- Claims of the lane that gave nothing.
    put_aside integer;
    taken integer;
    is_open boolean;
    busy boolean := false;
    buried boolean;
    segment constant smallint := rolegate.write_segment();
    -- Of what jobs of one claim are stored in: its worker has them all in memory, and what is stored may be
    -- compressed a hundredfold.
    most_bytes constant bigint := 4194304;
    -- Claims made from here on have a higher number.
    last_claim constant bigint := (select s.last_value from rolegate.job_claim_id s);
    -- Whoever gets a transaction id after ours takes higher ids of jobs. So it is read once, before the first
    -- claim gives us ours: between two lanes somebody may have got his and an id. NULL: we have ours
    -- already, and nothing can be said.
    sequence constant bigint := (
        select s.last_value from rolegate.job_id s
        where pg_catalog.pg_current_xact_id_if_assigned() is null);
begin
    if most not between 1 and 1000 then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'a claim is for 1 to 1000 jobs';
    end if;
    if pg_catalog.current_setting('transaction_isolation') <> 'read committed' then
        perform rolegate.need_read_committed();
    end if;
    -- Lost in a crash, its jobs are claimed again. Planning for the values of each call would cost
    -- more than the call, and compiling the plan, which many partitions make look expensive, far more.
    perform pg_catalog.set_config('synchronous_commit', 'off', true),
        pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true),
        pg_catalog.set_config('jit', 'off', true);
    perform pg_catalog.pg_advisory_xact_lock_shared(rolegate.worker_lock_key(worker));
    select w.open_from is not null into is_open from rolegate.job_worker w where w.id = worker;
    if is_open is null then
        raise exception using
            errcode = 'no_data_found',
            message = 'this worker is not registered any more',
            hint = 'It was silent for too long; its jobs run elsewhere. Register again.';
    end if;

    for queue in
        select
            q.id, q.aging, q.concurrency is not null or q.rate is not null as limited,
            exists (select from rolegate.job_opening o where o.queue = q.id) as has_openings
        from (
            select u.id, min(u.nth) as nth
            from pg_catalog.unnest(queues) with ordinality u (id, nth)
            group by u.id
        ) n
        join rolegate.job_queue q on q.id = n.id
        where q.paused_at is null
        order by n.nth
    loop
        -- Jobs that waited for a place of their key and have it now come back to their lanes, which may be
        -- another queue's; not for this transaction, which does not see its own rows as others do.
        if queue.has_openings then
            busy := true;
            exit when rolegate.use_openings(queue.id);
        end if;
        room := case when not queue.limited then wanted end;
        -- The first job of each lane says how long the lane has waited. A lane without one may
        -- still have jobs that came late.
        for next_lane in
            select l.lane
            from pg_catalog.generate_series(queue.id * 4, queue.id * 4 + 3) l (lane)
            left join lateral (
                select k.hi from rolegate.job_claim k where k.lane = l.lane
                order by k.hi desc, k.id desc limit 1
            ) k on true
            left join lateral (
                select j.enqueued_at from rolegate.job j
                where j.lane = l.lane and j.id > coalesce(k.hi, 0) order by j.id limit 1
            ) head on true
            where k.hi is not null or head.enqueued_at is not null
            order by
                l.lane - coalesce(
                    pg_catalog.floor(
                        extract(epoch from pg_catalog.clock_timestamp() - head.enqueued_at)
                        / extract(epoch from nullif(queue.aging, interval '0'))), 0),
                l.lane
        loop
            exit when room <= 0;
            if not pg_catalog.pg_try_advisory_xact_lock(rolegate.lane_lock_key(next_lane)) then
                busy := true;
                continue;
            end if;
            if room is null then
                select r.room, least(again_at, r.next_at) into room, again_at
                from rolegate.queue_room(queue.id, wanted) r;
                if room is null then
                    busy := true;
                    exit;
                end if;
                exit when room <= 0;
            end if;
            put_aside := 0;
            buried := exists (select from rolegate.job_tombstone);
            loop
                -- The lock first: the snapshots below are newer than what the last holder wrote.
                select * into c from rolegate.job_claim k where k.lane = next_lane
                order by k.hi desc, k.id desc limit 1;
                if c.id is null then
                    c.seen := '1:1:';
                    c.hi := 0;
                    c.open_xids := '{}';
                    c.open_low := '{}';
                    c.last := 0;
                    c.prev_last := 0;
                end if;
                -- One statement, so one snapshot, for the rows and for what is written down as seen.
                return query
                with s as materialized (
                    select coalesce(c.pass, pg_catalog.pg_current_snapshot()) as s
                ),
                ended as materialized (
                    select o.x, o.low
                    from unnest(c.open_xids, c.open_low) o (x, low), s
                    where pg_catalog.pg_visible_in_snapshot(o.x, s.s)
                ),
                behind as materialized (
                    select
                        j.*,
                        -- What those before it are stored in.
                        pg_catalog.sum(pg_catalog.pg_column_size(j.args)
                            + coalesce(pg_catalog.pg_column_size(j.options), 0)) over (
                                order by j.id rows between unbounded preceding and 1 preceding
                            ) > most_bytes is true as is_beyond
                    from rolegate.job j
                    where j.lane = next_lane
                        and j.id > greatest(
                            coalesce(c.pass_id, 0), least((select min(e.low) from ended e), c.prev_last))
                        and j.id <= c.hi
                        -- At or past xmax some were in progress already.
                        and (
                            j.xid >= pg_catalog.pg_snapshot_xmax(c.seen)
                            or j.xid = any (array(select e.x from ended e))
                        )
                        and (c.pass is null or pg_catalog.pg_visible_in_snapshot(j.xid, c.pass))
                    order by j.id
                    limit room + 1
                ),
                late as materialized (
                    select
                        pg_catalog.count(*) as n,
                        pg_catalog.count(*) > room or pg_catalog.bool_or(b.is_beyond) is true as too_many
                    from behind b
                ),
                ahead as materialized (
                    select a.*
                    from (
                        select
                            j.*,
                            pg_catalog.sum(pg_catalog.pg_column_size(j.args)
                                + coalesce(pg_catalog.pg_column_size(j.options), 0)) over (
                                    order by j.id rows between unbounded preceding and 1 preceding
                                ) > most_bytes is true as is_beyond
                        from (
                            select x.*
                            from rolegate.job x
                            where x.lane = next_lane and x.id > c.hi
                            order by x.id
                            limit (
                                select case
                                    when c.pass is not null or l.too_many then 0
                                    else greatest(room - l.n, 0)
                                end
                                from late l
                            )
                        ) j
                    ) a
                    where not a.is_beyond
                ),
                picked as materialized (
                    select pg_catalog.row_number() over (order by u.id) as nth, u.*
                    from (
                        (select b.* from behind b where not b.is_beyond order by b.id limit room)
                        union all
                        select a.* from ahead a
                    ) u
                ),
                made as (
                    insert into rolegate.job_claim (
                        segment, lane, worker, seen, hi, open_xids, open_low, last, prev_last, pass,
                        pass_id, jobs)
                    select
                        segment, next_lane, worker,
                        case when l.too_many then c.seen else s.s end,
                        coalesce((select max(a.id) from ahead a), c.hi),
                        case when l.too_many then c.open_xids else o.xids end,
                        case when l.too_many then c.open_low else o.lows end,
                        case when k.stays then c.last else coalesce(sequence, c.last) end,
                        -- Of a transaction that has ended: not of ours, if this may be our second claim.
                        case
                            when k.stays or put_aside > 0 or sequence is null then c.prev_last
                            else c.last
                        end,
                        case when l.too_many then s.s end,
                        case when l.too_many then (select max(p.id) from picked p) end,
                        array(select p.id from picked p order by p.nth)
                    from s, late l,
                    lateral (select l.too_many or c.pass is not null as stays) k,
                    lateral (
                        select
                            coalesce(pg_catalog.array_agg(t.x), '{}') as xids,
                            coalesce(pg_catalog.array_agg(t.low), '{}') as lows
                        from (
                            select
                                v.x,
                                coalesce(
                                    (
                                        select k.low
                                        from unnest(c.open_xids, c.open_low) k (x, low)
                                        where k.x = v.x
                                    ),
                                    c.prev_last
                                ) as low
                            from pg_catalog.pg_snapshot_xip(s.s) v (x)
                        ) t
                    ) o
                    where exists (select from picked)
                    returning job_claim.id, job_claim.at
                )
                select
                    m.id, m.at, p.nth::smallint, p.id, coalesce(p.root, p.id), p.lane, p.attempt,
                    p.max_attempts, case when queue.limited then p.flags | 16::smallint else p.flags end,
                    p.kind, p.principal, p.args::text, p.options::text, p.enqueued_at
                from (
                    select x.* from picked x
                    -- Cancelled or moved meanwhile: part of the claim, and closed below.
                    where not exists (select from rolegate.job_tombstone t where t.id = x.id)
                    -- Keys give their places away in this order.
                    order by x.nth
                ) p
                cross join made m
                where case when p.flags & 2 = 0 then true else rolegate.admit_job(
                    m.id, p.nth::smallint, p.id, p.root, p.enqueued_at, p.lane, p.attempt,
                    p.max_attempts, p.flags, p.kind, p.principal, p.args, p.options) end
                order by p.nth;
                get diagnostics taken = row_count;
                wanted := wanted - taken;
                room := room - taken;
                if taken > 0 and queue.limited then
                    perform rolegate.take_queue_places(queue.id, next_lane, taken);
                end if;
                if taken = 0 then
                    if (last_claim = 1 or (select s.last_value from rolegate.job_claim_id s) > last_claim)
                        and rolegate.close_buried(next_lane, c.id, segment)
                    then
                        -- All it took was cancelled, or put aside for a key: more may stand behind.
                        put_aside := put_aside + 1;
                        continue when put_aside < 10;
                        busy := true;
                        exit;
                    end if;
                    exit when c.pass is null;
                    -- The pass over late rows had none left: go on from where it looked.
                    perform rolegate.end_pass(c, worker, segment);
                    continue;
                end if;
                if buried then
                    perform rolegate.close_buried(next_lane, c.id, segment);
                end if;
                exit;
            end loop;
        end loop;
        exit when wanted <= 0;
    end loop;

    if wanted < most and not is_open then
        update rolegate.job_worker w
        set open_from = last_claim, seen_at = pg_catalog.clock_timestamp()
        where w.id = worker;
        if not found then
            -- It was forgotten just now, and nobody would take these jobs from it.
            raise exception using
                errcode = 'no_data_found', message = 'this worker is not registered any more',
                hint = 'Register again.';
        end if;
    end if;
    if (busy or again_at is not null) and wanted = most then
        return query select
            null::bigint, null::timestamptz, null::smallint,
            case when busy then 0 else pg_catalog.ceil(greatest(
                1000 * extract(epoch from again_at - pg_catalog.clock_timestamp()), 1))::bigint end,
            null::bigint, null::integer, null::smallint, null::smallint, null::smallint, null::text,
            null::bigint, null::text, null::text, null::timestamptz;
    end if;
end
$$;
revoke execute on function rolegate.claim_jobs(bigint, integer[], integer) from public;
grant execute on function rolegate.claim_jobs(bigint, integer[], integer) to rolegate_worker;

-- Who the jobs are for: fetched once for each principal, not with each job. A token that was revoked
-- since runs nothing any more, and its scopes are those it has now.
create function rolegate.job_principals(ids bigint[]) returns table (
    id bigint, role_name text, role_oid oid, token_id text, claims text, scopes text, revoked boolean
)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select
        p.id, p.role_name::text, p.role_oid, p.token_id, p.claims::text, t.scopes::text,
        t.revoked_at is not null
    from rolegate.job_principal p
    left join rolegate.api_token t on t.token_id::text = p.token_id
    where p.id = any (ids)
$$;
revoke execute on function rolegate.job_principals(bigint[]) from public;
grant execute on function rolegate.job_principals(bigint[]) to rolegate_worker;

-- A sign of life. `open_from` is the lowest claim that may still have open jobs, NULL if there is
-- none. False: the worker was given up, and its jobs with it.
create function rolegate.worker_alive(worker bigint, open_from bigint) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
begin
    perform pg_catalog.set_config('synchronous_commit', 'off', true);
    update rolegate.job_worker w
    set seen_at = pg_catalog.clock_timestamp(), open_from = worker_alive.open_from
    where w.id = worker;
    return found;
end
$$;
revoke execute on function rolegate.worker_alive(bigint, bigint) from public;
grant execute on function rolegate.worker_alive(bigint, bigint) to rolegate_worker;

-- Says for this session that somebody waits for jobs of these queues, until it ends or releases its
-- locks: see wake(). Those for which it can be said now; 0 is the promoter's. For the others a
-- producer is about to commit, or another worker waits already: look again soon.
create function rolegate.await_jobs(queues integer[]) returns integer[]
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select coalesce(pg_catalog.array_agg(q), '{}')
    from pg_catalog.unnest(queues) q
    where pg_catalog.pg_try_advisory_lock(rolegate.queue_lock_key(q))
$$;
revoke execute on function rolegate.await_jobs(integer[]) from public;
grant execute on function rolegate.await_jobs(integer[]) to rolegate_worker, rolegate_maintenance;
