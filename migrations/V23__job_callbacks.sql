-- Jobs that wait for an answer from outside. An attempt registers a callback and ends by waiting for
-- it (`w`): the job is parked then, and holds no worker. What happens to a callback, and to the job
-- that is parked for it, is decided under the lock of the claim that the attempt belonged to.

create table rolegate.job_callback (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    root bigint not null,
    -- Which attempt registered it: where the job stood, and who had it.
    job bigint not null,
    claim bigint not null,
    ordinal smallint not null,
    resumable boolean not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    timeout_at timestamptz not null,
    -- answered: by the first call. expired: the timeout came first. closed: the attempt ended
    -- otherwise, or the job was taken while it waited.
    state text not null default 'open' check (state in ('open', 'answered', 'expired', 'closed')),
    -- The call that answered, what it was told, and what it brought.
    action text check (action in ('complete', 'fail', 'resume')),
    digest bytea,
    told text,
    payload jsonb,
    -- Of the last heartbeat: what it was told, and the progress that has no job to stand at yet.
    beat_digest bytea,
    beat_told text,
    progress jsonb,
    -- When the maintenance looks at it next.
    look_at timestamptz not null,
    check ((state = 'answered') = (action is not null and told is not null))
);
create index job_callback_job on rolegate.job_callback (job);
create index job_callback_look_at on rolegate.job_callback (look_at);

-- What waits for a callback: the columns of `job_deferred`. One that was completed by its callback
-- stays, with its output, for as long as completed jobs are kept.
create table rolegate.job_parked (
    root bigint primary key,
    callback uuid not null,
    parked_at timestamptz not null default pg_catalog.clock_timestamp(),
    state text not null default 'waiting' check (state in ('waiting', 'completed')),
    output jsonb,
    ended_at timestamptz,
    keep_until timestamptz,
    enqueued_at timestamptz not null,
    lane integer not null,
    attempt smallint not null,
    max_attempts smallint not null,
    flags smallint not null,
    kind text not null,
    principal bigint not null,
    args jsonb not null,
    options jsonb,
    check ((state = 'completed') = (ended_at is not null and keep_until is not null))
);
create index job_parked_keep_until on rolegate.job_parked (keep_until) where state = 'completed';

-- Whether the attempt has not ended.
create function rolegate.attempt_is_open(claim bigint, ordinal smallint, job bigint) returns boolean
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select exists (
            select from rolegate.job_claim k
            where k.id = attempt_is_open.claim and k.jobs[attempt_is_open.ordinal] = attempt_is_open.job)
        and not exists (
            select from rolegate.job_outcome o
            where o.claim = attempt_is_open.claim and attempt_is_open.ordinal = any (o.ordinals))
$$;
revoke execute on function rolegate.attempt_is_open(bigint, smallint, bigint) from public;

-- A callback for an attempt that is under way. NULL: the attempt has ended, nothing was registered.
-- `resumable`: the answer may also be the next step of the job instead of its end.
create function rolegate.register_callback(
    claim bigint, ordinal smallint, claimed_at timestamptz, timeout interval,
    resumable boolean default false
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
    insert into rolegate.job_callback (root, job, claim, ordinal, resumable, timeout_at, look_at)
    values (
        name, place, register_callback.claim, register_callback.ordinal,
        register_callback.resumable, until, until)
    returning id into strict made;
    perform rolegate.wake_promoter();
    return made;
end
$$;
revoke execute on function rolegate.register_callback(bigint, smallint, timestamptz, interval, boolean)
    from public;
grant execute on function rolegate.register_callback(bigint, smallint, timestamptz, interval, boolean)
    to rolegate_worker;

-- What follows for a job from the end of an attempt, wherever the job stands.
create function rolegate.settle_job(j rolegate.job, state "char", detail jsonb) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    delay constant interval := case
        when state in ('r', 's') then pg_catalog.make_interval(secs => (detail ->> 'delay')::float8)
    end;
begin
    -- The next attempt has to keep the rate of its key again.
    j.flags := j.flags & ~32;
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
                    delay, rolegate.job_backoff(j)), 'retry');
        when state = 'l' then
            perform rolegate.requeue_job(j, null, 'lost');
        when state = 's' then
            perform rolegate.requeue_job(j, pg_catalog.clock_timestamp() + delay, 'snooze');
        when state = 'b' then
            perform rolegate.requeue_job(j, null, 'released');
        when state = 'x' then
            perform rolegate.end_job(
                j, 'cancelled', coalesce(detail ->> 'reason', 'cancelled'), detail -> 'error');
        when state = 'w' then
            perform rolegate.park_job(j, detail);
    end case;
    if j.flags & 2 <> 0 and state in ('r', 'l', 's', 'b') then
        perform rolegate.leave_places(coalesce(j.root, j.id), false);
    end if;
end
$$;
revoke execute on function rolegate.settle_job(rolegate.job, "char", jsonb) from public;

-- As it was, and `w`: the job waits for the callback that `detail` names as `callback`, or for the
-- newest one of the attempt.
create or replace function rolegate.settle_attempt(lane integer, id bigint, state "char", detail jsonb)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    j rolegate.job;
begin
    select * into strict j from rolegate.job b
    where b.lane = settle_attempt.lane and b.id = settle_attempt.id;
    perform rolegate.settle_job(j, settle_attempt.state, detail);
end
$$;

-- The job of this attempt waits from now on; if its callback was answered already, not for long.
create function rolegate.park_job(j rolegate.job, detail jsonb) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    c rolegate.job_callback;
begin
    select * into c from rolegate.job_callback k
    where k.job = j.id and k.id::text = coalesce(detail ->> 'callback', k.id::text)
    order by k.created_at desc, k.id limit 1;
    if c.id is null or c.state = 'closed' then
        perform rolegate.settle_job(j, 'f', pg_catalog.jsonb_build_object(
            'error', 'the attempt waits for a callback that it has not registered',
            'reason', 'wait_for_callback_contract_violation'));
        return;
    end if;
    if c.progress is not null then
        j.flags := j.flags | 4::smallint;
        perform rolegate.note_progress(coalesce(j.root, j.id), c.progress);
    end if;
    insert into rolegate.job_parked (
        root, callback, enqueued_at, lane, attempt, max_attempts, flags, kind, principal, args, options)
    values (
        coalesce(j.root, j.id), c.id, j.enqueued_at, j.lane, j.attempt, j.max_attempts, j.flags,
        j.kind, j.principal, j.args, j.options);
    if c.state <> 'open' then
        perform rolegate.apply_callback(c);
    end if;
end
$$;
revoke execute on function rolegate.park_job(rolegate.job, jsonb) from public;

-- Percent and message of a heartbeat, for who looks. The checkpoint is the handler's.
create function rolegate.note_progress(root bigint, progress jsonb) returns void
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    insert into rolegate.job_progress as p (root, percent, message)
    values (
        note_progress.root, (progress ->> 'percent')::numeric::smallint, progress ->> 'message')
    on conflict (root) do update
    set percent = excluded.percent, message = excluded.message, at = excluded.at
$$;
revoke execute on function rolegate.note_progress(bigint, jsonb) from public;

-- Takes the job out of waiting: the row it would have in its lane. NULL: it does not wait. The
-- callback's claim is locked; a callback that is open is answered no more.
create function rolegate.unpark_job(root bigint) returns rolegate.job
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    claimed_as bigint;
    p rolegate.job_parked;
    j rolegate.job;
begin
    select c.claim into claimed_as from rolegate.job_parked k
    join rolegate.job_callback c on c.id = k.callback
    where k.root = unpark_job.root and k.state = 'waiting';
    if claimed_as is null then
        return null;
    end if;
    perform pg_catalog.pg_advisory_xact_lock(rolegate.claim_lock_key(claimed_as));
    -- It may wait for another callback by now: that one has another claim.
    delete from rolegate.job_parked k
    using rolegate.job_callback c
    where k.root = unpark_job.root and k.state = 'waiting'
        and c.id = k.callback and c.claim = claimed_as
    returning k.* into p;
    if p.root is null then
        return null;
    end if;
    update rolegate.job_callback c
    set state = 'closed', look_at = pg_catalog.clock_timestamp() + rolegate.callback_retention()
    where c.id = p.callback and c.state = 'open';
    j.id := p.root;
    j.root := p.root;
    j.enqueued_at := p.enqueued_at;
    j.lane := p.lane;
    j.attempt := p.attempt;
    j.max_attempts := p.max_attempts;
    j.flags := p.flags;
    j.kind := p.kind;
    j.principal := p.principal;
    j.args := p.args;
    j.options := p.options;
    return j;
end
$$;
revoke execute on function rolegate.unpark_job(bigint) from public;

-- How long it is known what became of a callback.
create function rolegate.callback_retention() returns interval
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select greatest(s.completed_retention, interval '1 day') from rolegate.job_setting s $$;
revoke execute on function rolegate.callback_retention() from public;

-- The callback as it is under its claim's lock. NULL: there is none.
create function rolegate.lock_callback(callback uuid) returns rolegate.job_callback
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    claimed_as bigint;
    c rolegate.job_callback;
begin
    select k.claim into claimed_as from rolegate.job_callback k where k.id = callback;
    if claimed_as is null then
        return null;
    end if;
    perform pg_catalog.pg_advisory_xact_lock(rolegate.claim_lock_key(claimed_as));
    select * into c from rolegate.job_callback k where k.id = callback for update;
    return c;
end
$$;
revoke execute on function rolegate.lock_callback(uuid) from public;

-- Whether the job waits for this callback now.
create function rolegate.is_parked(c rolegate.job_callback) returns boolean
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select exists (
        select from rolegate.job_parked p
        where p.root = (c).root and p.callback = (c).id and p.state = 'waiting')
$$;
revoke execute on function rolegate.is_parked(rolegate.job_callback) from public;

-- The job that waits for it goes on as the callback says, which is not open any more. The state the
-- job is in then.
create function rolegate.apply_callback(c rolegate.job_callback) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    j rolegate.job;
    flags smallint;
begin
    if c.action = 'complete' then
        update rolegate.job_parked p
        set state = 'completed', output = c.payload, ended_at = pg_catalog.clock_timestamp(),
            keep_until = pg_catalog.clock_timestamp() + s.completed_retention
        from rolegate.job_setting s
        where p.root = c.root
        returning p.flags into strict flags;
        perform rolegate.release_job(c.root, flags);
        return 'completed';
    end if;
    j := rolegate.unpark_job(c.root);
    if c.action = 'resume' then
        -- The same attempt goes on, as far as counting is concerned.
        j.options := coalesce(j.options, '{}') || pg_catalog.jsonb_build_object(
            'resume', pg_catalog.jsonb_build_object('callback', c.id, 'payload', c.payload));
        perform rolegate.requeue_job(j, null, 'resume');
        return 'available';
    elsif c.action = 'fail' then
        perform rolegate.settle_job(
            j, case when (c.payload ->> 'terminal')::boolean then 'f' else 'r' end::"char",
            pg_catalog.jsonb_build_object('error', c.payload -> 'error'));
    elsif j.attempt + 1 >= j.max_attempts then
        perform rolegate.settle_job(
            j, 'f', '{"error": "the callback timed out", "reason": "callback_timeout"}');
    else
        perform rolegate.settle_job(j, 'r', '{"error": "the callback timed out"}');
    end if;
    return case
        when exists (select from rolegate.job_ended e where e.root = c.root) then 'failed'
        when exists (select from rolegate.job_deferred d where d.root = c.root) then 'retryable'
        else 'available'
    end;
end
$$;
revoke execute on function rolegate.apply_callback(rolegate.job_callback) from public;

-- The first call of those that decide. `verdict`: ok; replay (the same call once more, which is told
-- the same); conflict (another call was first); gone (the job does not wait any more);
-- not_resumable; not_found. An early call is kept until the attempt parks its job: `running`.
create function rolegate.answer_callback(
    callback uuid, action text, payload jsonb, request_digest bytea,
    out verdict text, out job bigint, out state text
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
        if c.action = answer_callback.action and c.digest = request_digest then
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
    verdict := 'ok';
    state := 'running';
    update rolegate.job_callback k
    set state = 'answered', action = answer_callback.action, digest = request_digest,
        told = 'running', payload = answer_callback.payload,
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
revoke execute on function rolegate.answer_callback(uuid, text, jsonb, bytea) from public;

-- Completes the job; `payload` is its output.
create function rolegate.callback_complete(
    callback uuid, payload jsonb, request_digest bytea,
    out verdict text, out job bigint, out state text
)
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select * from rolegate.answer_callback(callback, 'complete', payload, request_digest) $$;
revoke execute on function rolegate.callback_complete(uuid, jsonb, bytea) from public;
grant execute on function rolegate.callback_complete(uuid, jsonb, bytea) to rolegate_receiver;

-- The attempt failed: it is tried again while there are attempts left, unless `terminal`.
create function rolegate.callback_fail(
    callback uuid, error text, terminal boolean, request_digest bytea,
    out verdict text, out job bigint, out state text
)
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select * from rolegate.answer_callback(
        callback, 'fail',
        pg_catalog.jsonb_build_object('error', error, 'terminal', coalesce(terminal, false)),
        request_digest)
$$;
revoke execute on function rolegate.callback_fail(uuid, text, boolean, bytea) from public;
grant execute on function rolegate.callback_fail(uuid, text, boolean, bytea) to rolegate_receiver;

-- The job goes back to its lane with the payload: `options -> 'resume'` of its next claim.
create function rolegate.callback_resume(
    callback uuid, payload jsonb, request_digest bytea,
    out verdict text, out job bigint, out state text
)
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select * from rolegate.answer_callback(callback, 'resume', payload, request_digest) $$;
revoke execute on function rolegate.callback_resume(uuid, jsonb, bytea) from public;
grant execute on function rolegate.callback_resume(uuid, jsonb, bytea) to rolegate_receiver;

-- The callback times out `timeout` seconds from now, sooner or later than before. `progress` has
-- `percent` and `message`. `request_digest` NULL: the call is never taken for a repeat.
create function rolegate.callback_heartbeat(
    callback uuid, timeout double precision, progress jsonb, request_digest bytea,
    out verdict text, out job bigint, out state text
)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    c rolegate.job_callback;
    parked boolean;
    until timestamptz;
begin
    if (timeout >= 0 and timeout <= 315360000) is not true then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'a callback''s timeout is 0 to 315360000 seconds';
    end if;
    if (case
        when progress is null then true
        when pg_catalog.jsonb_typeof(progress) <> 'object' then false
        when pg_catalog.jsonb_typeof(progress -> 'percent') not in ('number', 'null') then false
        else coalesce((progress ->> 'percent')::numeric, 0) between 0 and 100
    end) is not true then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'progress is an object with percent, from 0 to 100, and message';
    end if;
    c := rolegate.lock_callback(callback);
    if c.id is null then
        verdict := 'not_found';
        return;
    end if;
    job := c.root;
    if c.beat_digest = request_digest then
        verdict := 'replay';
        state := c.beat_told;
        return;
    end if;
    parked := rolegate.is_parked(c);
    if c.state <> 'open' or not (parked or rolegate.attempt_is_open(c.claim, c.ordinal, c.job)) then
        verdict := 'gone';
        return;
    end if;
    verdict := 'ok';
    state := case when parked then 'waiting_external' else 'running' end;
    until := pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => timeout);
    update rolegate.job_callback k
    set timeout_at = until, look_at = until, beat_digest = request_digest,
        beat_told = callback_heartbeat.state,
        progress = case when parked then null else coalesce(callback_heartbeat.progress, k.progress) end
    where k.id = c.id;
    if parked and callback_heartbeat.progress is not null then
        perform rolegate.note_progress(c.root, callback_heartbeat.progress);
        update rolegate.job_parked p set flags = p.flags | 4::smallint
        where p.root = c.root and p.flags & 4::smallint = 0;
    end if;
    if until < c.timeout_at then
        perform rolegate.wake_promoter();
    end if;
end
$$;
revoke execute on function rolegate.callback_heartbeat(uuid, double precision, jsonb, bytea) from public;
grant execute on function rolegate.callback_heartbeat(uuid, double precision, jsonb, bytea)
    to rolegate_receiver;

-- Callbacks whose time is over: their jobs are tried again or have failed. Forgets what was kept for
-- long enough. `next_at` is when there is something to do again.
create function rolegate.expire_callbacks(most integer, out expired integer, out next_at timestamptz)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    due uuid;
    c rolegate.job_callback;
    running boolean;
begin
    expired := 0;
    -- In the order of the claims, whose locks are taken.
    for due in
        select d.id
        from (
            select k.id, k.claim from rolegate.job_callback k
            where k.look_at <= pg_catalog.clock_timestamp()
            order by k.look_at limit most
        ) d
        order by d.claim, d.id
    loop
        c := rolegate.lock_callback(due);
        continue when c.id is null or c.look_at > pg_catalog.clock_timestamp();
        running := rolegate.attempt_is_open(c.claim, c.ordinal, c.job);
        if c.state = 'open' then
            update rolegate.job_callback k
            set state = case when running or rolegate.is_parked(c) then 'expired' else 'closed' end,
                look_at = pg_catalog.clock_timestamp() + rolegate.callback_retention()
            where k.id = c.id
            returning k.* into c;
            if c.state = 'expired' then
                expired := expired + 1;
                if not running then
                    perform rolegate.apply_callback(c);
                end if;
            end if;
        elsif running then
            -- The attempt may still ask what became of it.
            update rolegate.job_callback k
            set look_at = pg_catalog.clock_timestamp() + interval '1 hour' where k.id = c.id;
        else
            delete from rolegate.job_callback k where k.id = c.id;
        end if;
    end loop;
    delete from rolegate.job_parked p
    where p.root in (
        select x.root from rolegate.job_parked x
        where x.state = 'completed' and x.keep_until <= pg_catalog.clock_timestamp()
        order by x.keep_until limit most);
    next_at := least(
        (select k.look_at from rolegate.job_callback k order by k.look_at limit 1),
        (select p.keep_until from rolegate.job_parked p where p.state = 'completed'
            order by p.keep_until limit 1));
end
$$;
revoke execute on function rolegate.expire_callbacks(integer) from public;
grant execute on function rolegate.expire_callbacks(integer) to rolegate_maintenance;
