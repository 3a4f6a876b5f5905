-- Rules of callbacks: whether an answer is meant for the wait, what it means, and what is kept of it, told by
-- its payload. They belong to the callback and never change, so whoever evaluates them evaluates the ones
-- that count. That is the receiver: nothing in the database runs expressions.

alter table rolegate.job_callback
    -- filter, on_fail, on_complete, transform: texts; default; terminal.
    add column rules jsonb,
    -- What the call asked for that answered, if the rules made something of it.
    add column called text check (called in ('complete', 'resume'));

drop function rolegate.register_callback(bigint, smallint, timestamptz, interval, boolean);

-- A callback for an attempt that is under way. NULL: the attempt has ended, nothing was registered.
-- `resumable`: the answer may also be the next step of the job instead of its end.
create function rolegate.register_callback(
    claim bigint, ordinal smallint, claimed_at timestamptz, timeout interval,
    resumable boolean default false, rules jsonb default null
) returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    place bigint;
    name bigint;
    until timestamptz;
    made uuid;
begin
    if (timeout > interval '0' and timeout <= interval '10 years' and resumable is not null) is not true then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'a callback''s timeout is a time above zero, at most ten years';
    end if;
    if register_callback.rules is not null and not rolegate.are_callback_rules(register_callback.rules) then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'these are no rules of a callback',
            hint = 'An object of filter, on_fail, on_complete and transform (texts of at most 4096 bytes), '
                'default (complete, fail or ignore) and terminal (true or false).';
    end if;
    perform pg_catalog.pg_advisory_xact_lock(rolegate.claim_lock_key(claim));
    select j.id, coalesce(j.root, j.id) into place, name
    from rolegate.job_claim k
    join rolegate.job j on j.lane = k.lane and j.id = k.jobs[ordinal]
    where k.id = register_callback.claim and k.at = claimed_at;
    if place is null or not rolegate.attempt_is_open(claim, ordinal, place) then
        return null;
    end if;
    if (select pg_catalog.count(*) from rolegate.job_callback c where c.job = place) >= 16 then
        raise exception using
            errcode = 'program_limit_exceeded',
            message = 'an attempt has at most 16 callbacks';
    end if;
    until := pg_catalog.clock_timestamp() + timeout;
    insert into rolegate.job_callback (root, job, claim, ordinal, resumable, timeout_at, look_at, rules)
    values (
        name, place, register_callback.claim, register_callback.ordinal,
        register_callback.resumable, until, until, register_callback.rules)
    returning id into strict made;
    perform rolegate.wake_promoter();
    return made;
end
$$;
revoke execute on function rolegate.register_callback(bigint, smallint, timestamptz, interval, boolean, jsonb)
    from public;
grant execute on function rolegate.register_callback(bigint, smallint, timestamptz, interval, boolean, jsonb)
    to rolegate_worker;

-- Their shape. Whether the texts are expressions is for those who evaluate them.
create function rolegate.are_callback_rules(rules jsonb) returns boolean
language sql immutable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select case when pg_catalog.jsonb_typeof(rules) = 'object' then not exists (
        select from pg_catalog.jsonb_each(rules) m (name, value)
        where case
            when m.name in ('filter', 'on_fail', 'on_complete', 'transform') then
                pg_catalog.jsonb_typeof(m.value) = 'string'
                and pg_catalog.octet_length(m.value #>> '{}') between 1 and 4096
            when m.name = 'default' then m.value in ('"complete"', '"fail"', '"ignore"')
            when m.name = 'terminal' then pg_catalog.jsonb_typeof(m.value) = 'boolean'
        end is not true)
    else false end
$$;
revoke execute on function rolegate.are_callback_rules(jsonb) from public;

-- The `traceparent` of whoever enqueued the job that a callback is of: parked, or running still.
create function rolegate.callback_trace(c rolegate.job_callback) returns text
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select pg_catalog.substring(
        coalesce(
            (select p.options ->> 'trace' from rolegate.job_parked p where p.root = (c).root),
            (
                select j.options ->> 'trace'
                from rolegate.job_claim k
                join rolegate.job j on j.lane = k.lane and j.id = (c).job
                where k.id = (c).claim
            )),
        '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$')
$$;
revoke execute on function rolegate.callback_trace(rolegate.job_callback) from public;

drop function rolegate.answer_callback(uuid, text, jsonb, bytea);

-- The first call of those that decide. `verdict`: ok; replay (the same call once more, which is told
-- the same); conflict (another call was first); gone (the job does not wait any more);
-- not_resumable; not_found; judge: nothing was changed, the callback has `rules`, and the call is to be made
-- again with what they make of it: `judged`, an object of `by`, the rules, and, if the answer means
-- failure, its `error`. `payload` is the transformed one then. An early call is kept until the attempt
-- parks its job: `running`.
create function rolegate.answer_callback(
    callback uuid, action text, payload jsonb, request_digest bytea, judged jsonb,
    out verdict text, out job bigint, out state text, out rules jsonb, out trace text
)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    c rolegate.job_callback := rolegate.lock_callback(callback);
    parked boolean;
begin
    if c.id is null then
        verdict := 'not_found';
        return;
    end if;
    job := c.root;
    if c.state = 'answered' then
        if coalesce(c.called, c.action) = answer_callback.action and c.digest = request_digest then
            verdict := 'replay';
            state := c.told;
        else
            verdict := 'conflict';
        end if;
        return;
    end if;
    parked := rolegate.is_parked(c);
    if c.state <> 'open' or not (parked or rolegate.attempt_is_open(c.claim, c.ordinal, c.job)) then
        verdict := 'gone';
        return;
    end if;
    if answer_callback.action = 'resume' and not c.resumable then
        verdict := 'not_resumable';
        return;
    end if;
    -- A failure has no payload, and is one whatever the rules are.
    if answer_callback.action <> 'fail' then
        if c.rules is distinct from (judged -> 'by') then
            verdict := 'judge';
            state := case when parked then 'waiting_external' else 'running' end;
            rules := c.rules;
            return;
        end if;
        if c.rules is not null then
            c.called := answer_callback.action;
        end if;
        if judged ? 'error' then
            answer_callback.action := 'fail';
            answer_callback.payload := pg_catalog.jsonb_build_object(
                'error', judged -> 'error', 'terminal', coalesce((c.rules -> 'terminal')::boolean, false));
        end if;
    end if;
    verdict := 'ok';
    state := 'running';
    -- Under it the request, the job and its answer are found together.
    trace := rolegate.callback_trace(c);
    update rolegate.job_callback k
    set state = 'answered', action = answer_callback.action, digest = request_digest,
        told = 'running', payload = answer_callback.payload, called = c.called,
        look_at = pg_catalog.clock_timestamp() + rolegate.callback_retention()
    where k.id = c.id
    returning k.* into c;
    if parked then
        state := rolegate.apply_callback(c);
        -- The job has it now.
        update rolegate.job_callback k set told = answer_callback.state, payload = null
        where k.id = c.id;
    end if;
end
$$;
revoke execute on function rolegate.answer_callback(uuid, text, jsonb, bytea, jsonb) from public;

drop function rolegate.callback_complete(uuid, jsonb, bytea);
drop function rolegate.callback_resume(uuid, jsonb, bytea);

-- Completes the job; `payload` is its output.
create function rolegate.callback_complete(
    callback uuid, payload jsonb, request_digest bytea, judged jsonb default null,
    out verdict text, out job bigint, out state text, out rules jsonb, out trace text
)
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select * from rolegate.answer_callback(callback, 'complete', payload, request_digest, judged) $$;
revoke execute on function rolegate.callback_complete(uuid, jsonb, bytea, jsonb) from public;
grant execute on function rolegate.callback_complete(uuid, jsonb, bytea, jsonb) to rolegate_receiver;

-- The job goes back to its lane with the payload: `options -> 'resume'` of its next claim.
create function rolegate.callback_resume(
    callback uuid, payload jsonb, request_digest bytea, judged jsonb default null,
    out verdict text, out job bigint, out state text, out rules jsonb, out trace text
)
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select * from rolegate.answer_callback(callback, 'resume', payload, request_digest, judged) $$;
revoke execute on function rolegate.callback_resume(uuid, jsonb, bytea, jsonb) from public;
grant execute on function rolegate.callback_resume(uuid, jsonb, bytea, jsonb) to rolegate_receiver;

drop function rolegate.callback_fail(uuid, text, boolean, bytea);
create function rolegate.callback_fail(
    callback uuid, error text, terminal boolean, request_digest bytea,
    out verdict text, out job bigint, out state text, out trace text
)
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select a.verdict, a.job, a.state, a.trace
    from rolegate.answer_callback(
        callback, 'fail',
        pg_catalog.jsonb_build_object('error', error, 'terminal', coalesce(terminal, false)),
        request_digest, null) a
$$;
revoke execute on function rolegate.callback_fail(uuid, text, boolean, bytea) from public;
grant execute on function rolegate.callback_fail(uuid, text, boolean, bytea) to rolegate_receiver;
