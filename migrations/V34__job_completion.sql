-- Ends of attempts that are more than a line in a batch: in a transaction of the handler's own, and with
-- jobs that follow from it.

-- Never leaves the database. Padded as HMAC wants it.
create table rolegate.job_completion_key (
    only_row boolean primary key default true check (only_row),
    inner_pad bytea not null check (pg_catalog.length(inner_pad) = 64),
    outer_pad bytea not null check (pg_catalog.length(outer_pad) = 64)
);
insert into rolegate.job_completion_key (inner_pad, outer_pad)
select rolegate.hmac_pad(k.key, 54), rolegate.hmac_pad(k.key, 92)
from (select rolegate.random_bytes() as key offset 0) k;

create function rolegate.completion_mac(about text) returns bytea
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select pg_catalog.sha256(
        k.outer_pad || pg_catalog.sha256(k.inner_pad || pg_catalog.convert_to(about, 'UTF8')))
    from rolegate.job_completion_key k
$$;
revoke execute on function rolegate.completion_mac(text) from public;

-- What its bearer can complete this attempt with, whatever login he has; nothing else, and once. NULL:
-- the attempt has ended. `flags` are the job's, as the claim gave them.
create function rolegate.completion_token(
    claim bigint, ordinal smallint, claimed_at timestamptz, flags smallint
) returns text
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select t.about || '.' || pg_catalog.encode(rolegate.completion_mac(t.about), 'hex')
    from pg_catalog.concat_ws(
        '.', claim, ordinal, (extract(epoch from claimed_at) * 1000000)::bigint, flags) t (about)
    where rolegate.ended_attempts(array[claim], array[ordinal], array[claimed_at]) = '{}'
$$;
revoke execute on function rolegate.completion_token(bigint, smallint, timestamptz, smallint) from public;
grant execute on function rolegate.completion_token(bigint, smallint, timestamptz, smallint)
    to rolegate_worker;

-- Completes the attempt in the caller's transaction: what he wrote in it and the end of the attempt are
-- committed together. An attempt that has ended is an error, so that nothing is. The job's id. Until
-- the transaction ends, nothing of the attempt's batch can be finished by others.
create function rolegate.complete_attempt(token text, output jsonb default null) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    about constant text := pg_catalog.substring(
        token, '^([0-9]{1,19}\.[0-9]{1,5}\.[0-9]{1,19}\.[0-9]{1,5})\.[0-9a-f]{64}$');
    planned constant text := pg_catalog.current_setting('plan_cache_mode');
    jit constant text := pg_catalog.current_setting('jit');
    lock_timeout text;
    claim bigint;
    ordinal smallint;
    flags smallint;
    k rolegate.job_claim;
    j rolegate.job;
    refused integer[];
begin
    -- Hashed once more: how long the comparison takes says nothing about the right one.
    if (
        case when about is not null then
            pg_catalog.sha256(rolegate.completion_mac(about))
            = pg_catalog.sha256(pg_catalog.decode(pg_catalog.right(token, 64), 'hex'))
        end
    ) is not true then
        raise exception using
            errcode = 'invalid_authorization_specification', message = 'this is no token of an attempt';
    end if;
    claim := pg_catalog.split_part(about, '.', 1)::bigint;
    ordinal := pg_catalog.split_part(about, '.', 2)::smallint;
    flags := pg_catalog.split_part(about, '.', 4)::smallint;
    lock_timeout := rolegate.start_decision();
    -- Nothing is decided by what is read here.
    select * into k from rolegate.job_claim c
    where c.id = claim
        and (extract(epoch from c.at) * 1000000)::bigint = pg_catalog.split_part(about, '.', 3)::bigint;
    -- What it notes before it is finished is marked at its row.
    perform pg_catalog.pg_advisory_xact_lock(rolegate.claim_lock_key(claim));
    select * into j from rolegate.job b where b.lane = k.lane and b.id = k.jobs[ordinal];
    if j.id is not null then
        refused := rolegate.finish_jobs(
            k.worker, array[claim], array[ordinal], array[k.at], null,
            case when output is not null then array[output] end, array[flags | j.flags]);
    end if;
    if (refused = '{}') is not true then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = 'the attempt has ended already',
            hint = 'Its job was cancelled, or is another worker''s: roll back.';
    end if;
    perform pg_catalog.set_config('lock_timeout', lock_timeout, true),
        pg_catalog.set_config('plan_cache_mode', planned, true),
        pg_catalog.set_config('jit', jit, true);
    return coalesce(j.root, j.id);
end
$$;
revoke execute on function rolegate.complete_attempt(text, jsonb) from public;
grant execute on function rolegate.complete_attempt(text, jsonb) to rolegate_producer, rolegate_worker;

-- A job that follows from another one, for the same principal: a node of a flow, whose times may be
-- numbers of seconds (`run_at` since 1970, `run_after` from now).
create function rolegate.enqueue_follow_up(job jsonb, principal bigint, trace text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    at constant timestamptz := case
        when job ? 'run_after' then pg_catalog.clock_timestamp()
            + pg_catalog.make_interval(secs => (job ->> 'run_after')::float8)
        when pg_catalog.jsonb_typeof(job -> 'run_at') = 'number'
            then pg_catalog.to_timestamp((job ->> 'run_at')::float8)
    end;
begin
    perform rolegate.enqueue_node(
        pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('trace', trace))
            || (job - 'run_after')
            || pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('run_at', at)),
        null, null, principal, 1, 'follow-up', 0);
end
$$;
revoke execute on function rolegate.enqueue_follow_up(jsonb, bigint, text) from public;

-- finish_jobs(), and the jobs that follow from each of those that were not refused: arrays as
-- enqueue_follow_up() takes their elements, or NULL.
create function rolegate.finish_jobs_with(
    worker bigint, claims bigint[], ordinals smallint[], claimed_at timestamptz[], states "char"[],
    details jsonb[], flags smallint[], follow_ups jsonb[]
) returns integer[]
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    refused constant integer[] := rolegate.finish_jobs(
        worker, claims, ordinals, claimed_at, states, details, flags);
begin
    -- Its follow-ups would be made twice.
    perform from unnest(claims, ordinals) x (claim, ordinal)
    group by x.claim, x.ordinal having pg_catalog.count(*) > 1;
    if found then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'an attempt is named twice';
    end if;
    perform rolegate.enqueue_follow_up(f.job, j.principal, j.options ->> 'trace')
    from pg_catalog.unnest(follow_ups) with ordinality u (jobs, nth)
    join rolegate.job_claim k on k.id = claims[u.nth]
    join rolegate.job j on j.lane = k.lane and j.id = k.jobs[ordinals[u.nth]]
    cross join lateral pg_catalog.jsonb_array_elements(u.jobs) with ordinality f (job, nth)
    where u.jobs is not null and u.nth::integer <> all (refused)
    order by u.nth, f.nth;
    return refused;
end
$$;
revoke execute on function rolegate.finish_jobs_with(
    bigint, bigint[], smallint[], timestamptz[], "char"[], jsonb[], smallint[], jsonb[]) from public;
grant execute on function rolegate.finish_jobs_with(
    bigint, bigint[], smallint[], timestamptz[], "char"[], jsonb[], smallint[], jsonb[])
    to rolegate_worker;
