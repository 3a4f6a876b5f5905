-- Enqueueing: part of the producer's transaction, and nothing it holds until commit makes another
-- producer wait, except one with the same unique key.

-- The advisory lock that says: a worker waits for jobs of this queue and wants to be told.
create function rolegate.queue_lock_key(queue_id integer) returns bigint
language plpgsql immutable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    return (x'524a51'::bigint << 40) + queue_id;
end
$$;
revoke execute on function rolegate.queue_lock_key(integer) from public;

-- NOTIFY makes commits wait for each other, so it is sent only while a worker sleeps. A worker that
-- goes to sleep holds the lock exclusively, or waits for it; either makes the shared one
-- unavailable. A producer that got it keeps it until its commit, so that a worker can't fall asleep
-- between its look at the queue and the commit.
create function rolegate.wake(queue_id integer) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    if not pg_catalog.pg_try_advisory_xact_lock_shared(rolegate.queue_lock_key(queue_id)) then
        perform pg_catalog.pg_notify('rolegate_jobs', queue_id::text);
    end if;
end
$$;
revoke execute on function rolegate.wake(integer) from public;

-- Somebody waits for the time of the next deferred job; this one may be earlier.
create function rolegate.wake_promoter() returns void
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select rolegate.wake(0) $$;
revoke execute on function rolegate.wake_promoter() from public;

-- Raises what is wrong with it; else the lane.
create function rolegate.job_lane(
    kind text, args jsonb, queue text, priority integer, max_attempts integer
) returns integer
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    wrong text;
begin
    wrong := case
        when kind is null or kind = '' or pg_catalog.length(kind) > 200
            then 'kind has 1 to 200 characters'
        when args is null then 'args is JSON, not NULL'
        when priority is null or priority not between 1 and 4 then 'priority is 1 (first) to 4'
        when max_attempts is null or max_attempts not between 1 and 1000
            then 'max_attempts is 1 to 1000'
    end;
    if wrong is not null then
        raise exception using errcode = 'invalid_parameter_value', message = wrong;
    end if;
    return rolegate.queue_id(queue) * 4 + priority - 1;
end
$$;
revoke execute on function rolegate.job_lane(text, jsonb, text, integer, integer) from public;

-- The W3C `traceparent` of the request that this is part of, if it came with one.
create function rolegate.request_trace() returns text
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select pg_catalog.substring(
        pg_catalog.current_setting('request.headers', true),
        '"traceparent" *: *"([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})"')
$$;
revoke execute on function rolegate.request_trace() from public;

-- Takes the unique key for a job. NULL: it is the job's. Else the job that has it.
create function rolegate.take_unique_key(kind text, unique_key text, for_root bigint, held_until timestamptz)
returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    digest constant bytea := pg_catalog.sha256(pg_catalog.convert_to(
        pg_catalog.length(kind)::text || '|' || kind || unique_key, 'UTF8'));
    holder bigint;
begin
    loop
        -- A look without a lock: who only finds that the key is taken must not keep the job that has it from
        -- ending, however long his transaction is.
        select u.root into holder from rolegate.job_unique u
        where u.key = digest and not (u.ended and u.held_until <= pg_catalog.clock_timestamp());
        if found then
            return holder;
        end if;
        insert into rolegate.job_unique (key, root, held_until)
        values (digest, for_root, take_unique_key.held_until)
        on conflict (key) do nothing;
        if found then
            return null;
        end if;
        update rolegate.job_unique u
        set root = for_root, held_until = take_unique_key.held_until, ended = false
        where u.key = digest and u.ended and u.held_until <= pg_catalog.clock_timestamp();
        if found then
            return null;
        end if;
        -- Somebody was faster, or it ended between the statements: look again.
    end loop;
end
$$;
revoke execute on function rolegate.take_unique_key(text, text, bigint, timestamptz) from public;

-- Gives a job that waits for its time, and was never tried, another time and other contents. False if it does not
-- wait any more, or is somebody else's. The row is locked until the end of the transaction: it does not become
-- due meanwhile. Operators would wait for it, so that an idle transaction is ended as in start_decision().
create function rolegate.replace_scheduled(
    job_id bigint, run_at timestamptz, held_until timestamptz, lane integer, max_attempts integer,
    flags smallint, principal bigint, args jsonb, options jsonb
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_variable
declare
    idle constant interval := pg_catalog.current_setting('idle_in_transaction_session_timeout')::interval;
begin
    update rolegate.job_deferred d
    set run_at = coalesce(replace_scheduled.run_at, pg_catalog.clock_timestamp()),
        lane = replace_scheduled.lane, max_attempts = replace_scheduled.max_attempts,
        -- Whose child it is stays.
        flags = d.flags & ~2::smallint | replace_scheduled.flags,
        principal = replace_scheduled.principal, args = replace_scheduled.args,
        options = replace_scheduled.options
    where d.root = job_id and d.reason is null and d.waits_for is null and rolegate.owns_job(d.principal);
    if not found then
        return false;
    end if;
    if idle = interval '0' or idle > interval '10 seconds' then
        perform pg_catalog.set_config('idle_in_transaction_session_timeout', '10s', true);
    end if;
    update rolegate.job_unique u set held_until = replace_scheduled.held_until where u.root = job_id;
    perform rolegate.wake_promoter();
    return true;
end
$$;
revoke execute on function rolegate.replace_scheduled(
    bigint, timestamptz, timestamptz, integer, integer, smallint, bigint, jsonb, jsonb) from public;

-- enqueue() for a job that is more than a line, or has something wrong with it.
create function rolegate.enqueue_with(
    kind text, args jsonb, queue text, run_at timestamptz, priority integer, max_attempts integer,
    unique_key text, on_conflict text, unique_for interval, deadline interval, tags text[], metadata jsonb,
    trace text, ordering_key text, limit_key text, backoff interval, max_backoff interval
) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    lane integer;
    segment smallint;
    principal bigint;
    actor constant name := coalesce(
        nullif(pg_catalog.current_setting('role'), 'none')::name, session_user);
    -- As in job_principal() for a session without claims; NULL finds nobody.
    wanted constant bytea := case
        when pg_catalog.current_setting('rolegate.signed_claims', true) <> '' then null
        else pg_catalog.sha256(pg_catalog.convert_to(
            pg_catalog.concat_ws(
                '|', pg_catalog.to_regrole(pg_catalog.quote_ident(actor))::oid, actor, ''),
            'UTF8'))
    end;
    flags constant smallint := case when unique_key is null then 0 else 1 end
        + case when ordering_key is null and limit_key is null then 0 else 2 end;
    options jsonb;
    holder bigint;
    made bigint;
begin
    -- Everything is looked up at once: a statement costs more than a look. The segment is that of
    -- write_segment().
    select
        q.id * 4 + priority - 1,
        (select p.id from rolegate.job_principal p where p.digest = wanted limit 1),
        coalesce(
            (
                select t.segment from rolegate.job_turn t
                where t.usable_from <= pg_catalog.now() order by t.turn desc limit 1
            ),
            (select t.segment from rolegate.job_turn t order by t.turn limit 1))
    into lane, principal, segment
    from rolegate.job_queue q where q.name = queue;
    -- Said in one expression, and explained there.
    if (kind <> '' and pg_catalog.length(kind) <= 200 and args is not null and lane is not null
        and priority between 1 and 4 and max_attempts between 1 and 1000) is not true
    then
        lane := rolegate.job_lane(kind, args, queue, priority, max_attempts);
    end if;
    if principal is null then
        principal := rolegate.job_principal();
    end if;
    if trace is null and pg_catalog.current_setting('request.headers', true) like '%"traceparent"%' then
        trace := rolegate.request_trace();
    end if;

    if deadline is not null or tags is not null or metadata is not null or trace is not null
        or flags & 2 <> 0 or backoff is not null or max_backoff is not null
    then
        if deadline <= interval '0' or deadline > interval '100 years' then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'deadline is above zero and at most 100 years';
        end if;
        if (backoff between interval '0' and interval '100 years') is false
            or (max_backoff between interval '0' and interval '100 years') is false
        then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'backoff and max_backoff are from zero to 100 years';
        end if;
        -- One dimension: in JSON there would be lists among them.
        if (
            case
                when tags is null then false
                when pg_catalog.cardinality(tags) > 20 or pg_catalog.array_ndims(tags) > 1 then true
                else pg_catalog.array_position(tags, null) is not null
                    or pg_catalog.length(pg_catalog.array_to_string(tags, '')) > 4000
            end
        ) then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'a job has at most 20 tags, of 4000 characters together, and none is NULL';
        end if;
        if pg_catalog.length(trace) > 200 then
            raise exception using
                errcode = 'invalid_parameter_value', message = 'trace has at most 200 characters';
        end if;
        if ordering_key is not null and limit_key is not null then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'a job has an ordering_key or a limit_key, not both';
        end if;
        if pg_catalog.length(coalesce(ordering_key, limit_key)) not between 1 and 200 then
            raise exception using
                errcode = 'invalid_parameter_value', message = 'a key has 1 to 200 characters';
        end if;
        options := pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
            'deadline', extract(epoch from deadline), 'tags', pg_catalog.to_jsonb(tags),
            'trace', trace, 'ordering_key', ordering_key, 'limit_key', limit_key,
            'backoff', extract(epoch from backoff), 'max_backoff', extract(epoch from max_backoff)));
        if metadata is not null then
            options := options || pg_catalog.jsonb_build_object('metadata', metadata);
        end if;
    end if;

    if unique_key is not null then
        if on_conflict is null or on_conflict not in ('error', 'existing', 'replace') then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = 'on_conflict is error, existing or replace';
        end if;
        if pg_catalog.length(unique_key) > 1000 then
            raise exception using
                errcode = 'invalid_parameter_value', message = 'a unique_key has at most 1000 characters';
        end if;
        if unique_for > interval '100 years' then
            raise exception using
                errcode = 'invalid_parameter_value', message = 'unique_for is at most 100 years';
        end if;
        if run_at = 'infinity' then
            raise exception using
                errcode = 'invalid_parameter_value', message = 'run_at is a time that comes';
        end if;
        -- A transaction has its number before it takes an id: see the table.
        perform pg_catalog.pg_current_xact_id();
        made := pg_catalog.nextval('rolegate.job_id');
        holder := rolegate.take_unique_key(
            kind, unique_key, made, pg_catalog.clock_timestamp() + unique_for);
        if holder is not null then
            if on_conflict = 'existing' then
                return holder;
            end if;
            if on_conflict = 'replace' and rolegate.replace_scheduled(
                holder, run_at, pg_catalog.clock_timestamp() + unique_for, lane, max_attempts, flags,
                principal, args, options)
            then
                return holder;
            end if;
            raise exception using
                errcode = 'unique_violation',
                message = pg_catalog.format('job %s has this unique key', holder),
                hint = case on_conflict
                    when 'replace' then 'It does not wait for its time any more, or is somebody else''s.'
                    else 'on_conflict => ''existing'' returns its id instead.'
                end;
        end if;
    end if;

    if run_at > pg_catalog.clock_timestamp() then
        if run_at = 'infinity' then
            raise exception using
                errcode = 'invalid_parameter_value', message = 'run_at is a time that comes';
        end if;
        insert into rolegate.job_deferred (
            root, run_at, enqueued_at, lane, attempt, max_attempts, flags, kind, principal, args, options)
        values (
            coalesce(made, pg_catalog.nextval('rolegate.job_id')), run_at,
            pg_catalog.clock_timestamp(), lane, 0, max_attempts, flags, kind, principal, args, options)
        returning root into strict made;
        perform rolegate.wake_promoter();
    elsif made is null then
        insert into rolegate.job (lane, segment, max_attempts, flags, kind, principal, args, options)
        values (
            lane, segment, max_attempts, flags, kind, principal, args, options)
        returning id into strict made;
        -- As in wake().
        if not pg_catalog.pg_try_advisory_xact_lock_shared(
            (x'524a51'::bigint << 40) + lane / 4)
        then
            perform pg_catalog.pg_notify('rolegate_jobs', (lane / 4)::text);
        end if;
    else
        insert into rolegate.job (id, lane, segment, max_attempts, flags, kind, principal, args, options)
        values (
            made, lane, segment, max_attempts, flags, kind, principal, args, options);
        perform rolegate.wake(lane / 4);
    end if;
    return made;
end
$$;
revoke execute on function rolegate.enqueue_with(
    text, jsonb, text, timestamptz, integer, integer, text, text, interval, interval, text[], jsonb, text,
    text, text, interval, interval) from public;

-- The id of the job. With a unique key that is taken: an error, or (`on_conflict => 'existing'`) the
-- id of the job that has it, or (`replace`) that job gets these contents and this time, if it still waits for
-- its own; else an error. The key is free again when the job ends, but not before `unique_for`.
-- Of the jobs of a queue with the same ordering_key one runs at a time, and the next when it has ended,
-- in the order in which they were enqueued. Those with the same limit_key share the limits that the
-- queue has for each (set_queue_limits).
create function rolegate.enqueue(
    kind text,
    args jsonb default '{}',
    queue text default 'default',
    run_at timestamptz default null,
    priority integer default 2,
    max_attempts integer default 25,
    unique_key text default null,
    on_conflict text default 'error',
    unique_for interval default null,
    deadline interval default null,
    tags text[] default null,
    metadata jsonb default null,
    trace text default null,
    ordering_key text default null,
    limit_key text default null,
    backoff interval default null,
    max_backoff interval default null
) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    made bigint;
    awake boolean;
begin
    -- A plain job is one statement: each expression more is prepared anew in each transaction. What is
    -- wrong with it, or not there yet, makes no row.
    if unique_key is null and run_at is null and deadline is null and tags is null and metadata is null
        and ordering_key is null and limit_key is null and trace is null and backoff is null
        and max_backoff is null
        and (pg_catalog.current_setting('request.headers', true) like '%"traceparent"%') is not true
    then
        insert into rolegate.job (lane, segment, max_attempts, kind, principal, args)
        select
            q.id * 4 + enqueue.priority - 1,
            -- As in write_segment().
            coalesce(
                (
                    select t.segment from rolegate.job_turn t
                    where t.usable_from <= pg_catalog.now() order by t.turn desc limit 1
                ),
                (select t.segment from rolegate.job_turn t order by t.turn limit 1)),
            enqueue.max_attempts, enqueue.kind, p.id, enqueue.args
        from rolegate.job_queue q
        cross join lateral (
            -- As in job_principal() for a session without claims.
            select x.id from rolegate.job_principal x
            where x.digest = pg_catalog.sha256(pg_catalog.convert_to(
                    pg_catalog.concat_ws(
                        '|',
                        pg_catalog.to_regrole(pg_catalog.quote_ident(coalesce(
                            nullif(pg_catalog.current_setting('role'), 'none')::name, session_user)))::oid,
                        coalesce(nullif(pg_catalog.current_setting('role'), 'none')::name, session_user),
                        ''),
                    'UTF8'))
                and (pg_catalog.current_setting('rolegate.signed_claims', true) <> '') is not true
            limit 1
        ) p
        where q.name = enqueue.queue and enqueue.kind <> '' and pg_catalog.length(enqueue.kind) <= 200
            and enqueue.args is not null and enqueue.priority between 1 and 4
            and enqueue.max_attempts between 1 and 1000
        -- As in wake().
        returning
            id, pg_catalog.pg_try_advisory_xact_lock_shared((x'524a51'::bigint << 40) + job.lane / 4)
        into made, awake;
        if made is not null then
            if not awake then
                perform rolegate.wake(rolegate.queue_id(queue));
            end if;
            return made;
        end if;
    end if;
    return rolegate.enqueue_with(
        kind, args, queue, run_at, priority, max_attempts, unique_key, on_conflict, unique_for, deadline,
        tags, metadata, trace, ordering_key, limit_key, backoff, max_backoff);
end
$$;
revoke execute on function rolegate.enqueue(
    text, jsonb, text, timestamptz, integer, integer, text, text, interval, interval, text[], jsonb, text,
    text, text, interval, interval) from public;
grant execute on function rolegate.enqueue(
    text, jsonb, text, timestamptz, integer, integer, text, text, interval, interval, text[], jsonb, text,
    text, text, interval, interval) to rolegate_producer;

-- Many jobs of one kind and queue at once; their ids are in the order of `args`.
create function rolegate.enqueue_many(
    kind text, args jsonb[], queue text default 'default', priority integer default 2,
    max_attempts integer default 25
) returns bigint[]
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    lane constant integer := rolegate.job_lane(kind, '{}', queue, priority, max_attempts);
    principal constant bigint := rolegate.job_principal();
    segment constant smallint := rolegate.write_segment();
    -- What they were enqueued by is the same for all.
    trace constant text := case
        when pg_catalog.current_setting('request.headers', true) like '%"traceparent"%'
            then rolegate.request_trace()
    end;
    options constant jsonb := case
        when trace is not null then pg_catalog.jsonb_build_object('trace', trace)
    end;
    made bigint[];
begin
    if pg_catalog.array_position(args, null) is not null then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'args is JSON, not NULL';
    end if;
    with inserted as (
        insert into rolegate.job (lane, segment, max_attempts, kind, principal, args, options)
        select lane, segment, max_attempts, kind, principal, a.args, options
        from pg_catalog.unnest(enqueue_many.args) with ordinality a (args, nth)
        order by a.nth
        returning id
    )
    -- Ids are taken in the order of the rows.
    select coalesce(pg_catalog.array_agg(i.id order by i.id), '{}') into strict made from inserted i;
    perform rolegate.wake(lane / 4);
    return made;
end
$$;
revoke execute on function rolegate.enqueue_many(text, jsonb[], text, integer, integer) from public;
grant execute on function rolegate.enqueue_many(text, jsonb[], text, integer, integer)
    to rolegate_producer;
