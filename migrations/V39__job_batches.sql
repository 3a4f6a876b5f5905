-- What operators do to many jobs at once. A batch is written down when it is submitted and done by the
-- maintenance, some jobs in each transaction, from the newest place to the oldest; jobs that come after it
-- was submitted are not among them.

create table rolegate.job_batch (
    id bigint generated always as identity primary key,
    action text not null check (action in ('cancel', 'retry', 'move')),
    only_state text,
    only_queue text,
    only_kind text,
    only_tag text,
    dead_letters boolean not null,
    -- Where they go; NULL keeps what is.
    to_queue text,
    to_priority integer,
    reason text,
    submitted_by text not null,
    submitted_at timestamptz not null default pg_catalog.clock_timestamp(),
    state text not null default 'running' check (state in ('running', 'done', 'cancelled')),
    -- The next one is below this place.
    below bigint not null,
    looked_at bigint not null default 0,
    changed bigint not null default 0,
    -- Could not be changed, and the last such refusal.
    refused bigint not null default 0,
    refusal text,
    ended_at timestamptz,
    check ((state = 'running') = (ended_at is null))
);
create index job_batch_running on rolegate.job_batch (id) where state = 'running';

-- Raises what is wrong with a batch.
create function rolegate.check_batch(
    action text, only_state text, only_queue text, only_kind text, only_tag text, dead_letters boolean,
    to_queue text, to_priority integer
) returns void
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    wrong constant text := case
        when action is null or action not in ('cancel', 'retry', 'move')
            then 'action is cancel, retry or move'
        when action = 'retry' and not dead_letters
            and (only_state is null or only_state not in ('failed', 'cancelled', 'waiting_external'))
            then 'retry is for failed or cancelled jobs, those that wait for an answer, or dead letters'
        when action = 'cancel'
            and (dead_letters or only_state in ('completed', 'failed', 'cancelled'))
            then 'cancel is for jobs that have not ended'
        when action = 'move' and (dead_letters
            or only_state is null or only_state not in ('available', 'scheduled', 'retryable'))
            then 'move is for available, scheduled or retryable jobs'
        when action = 'move' and to_queue is null and to_priority is null
            then 'move needs to_queue or to_priority'
        when action = 'cancel' and (to_queue is not null or to_priority is not null)
            then 'cancel has no to_queue or to_priority'
        when only_state is null and only_queue is null and only_kind is null and only_tag is null
            and not dead_letters
            then 'name a state, a queue, a kind or a tag: all jobs are not a batch'
    end;
begin
    if wrong is not null then
        raise exception using errcode = 'invalid_parameter_value', message = wrong;
    end if;
    if only_queue is not null then
        perform rolegate.queue_id(only_queue);
    end if;
    perform rolegate.other_lane(4, to_queue, to_priority);
end
$$;
revoke execute on function rolegate.check_batch(text, text, text, text, text, boolean, text, integer)
    from public;

-- Whether a job in this state is one for the action; what has ended is not cancelled.
create function rolegate.batch_means(action text, state text) returns boolean
language sql immutable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select action <> 'cancel' or state not in ('completed', 'failed', 'cancelled') $$;
revoke execute on function rolegate.batch_means(text, text) from public;

-- How many jobs a batch would look at now; `at_least` if there are more than 100,000.
create function rolegate.preview_batch(
    action text, only_state text default null, only_queue text default null, only_kind text default null,
    only_tag text default null, dead_letters boolean default false, to_queue text default null,
    to_priority integer default null,
    out jobs bigint, out at_least boolean, out newest bigint[]
)
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    below bigint;
    page record;
begin
    perform rolegate.check_batch(
        action, only_state, only_queue, only_kind, only_tag, dead_letters, to_queue, to_priority);
    jobs := 0;
    loop
        select
            pg_catalog.count(*) filter (where l.meant) as n, pg_catalog.count(*) as rows,
            min(l.next_before) as below,
            pg_catalog.array_agg(l.id order by l.next_before desc) filter (where l.meant) as ids
        into page
        from (
            select
                x.id, x.next_before,
                x.id is not null and rolegate.batch_means(action, x.state) as meant
            from rolegate.list_places(
                only_state, only_queue, only_kind, only_tag, dead_letters, below, 1000) x
        ) l;
        jobs := jobs + page.n;
        newest := coalesce(newest, page.ids[1:10]);
        at_least := jobs >= 100000;
        exit when page.rows = 0 or at_least;
        below := page.below;
    end loop;
    newest := coalesce(newest, '{}');
end
$$;
revoke execute on function rolegate.preview_batch(text, text, text, text, text, boolean, text, integer)
    from public;
grant execute on function rolegate.preview_batch(text, text, text, text, text, boolean, text, integer)
    to rolegate_operator;

-- Its id.
create function rolegate.submit_batch(
    action text, only_state text default null, only_queue text default null, only_kind text default null,
    only_tag text default null, dead_letters boolean default false, to_queue text default null,
    to_priority integer default null,
    reason text default null
) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    made bigint;
begin
    perform rolegate.check_batch(
        action, only_state, only_queue, only_kind, only_tag, dead_letters, to_queue, to_priority);
    if pg_catalog.length(reason) > 500 then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'reason has at most 500 characters';
    end if;
    insert into rolegate.job_batch (
        action, only_state, only_queue, only_kind, only_tag, dead_letters, to_queue, to_priority, reason,
        submitted_by, below)
    select
        action, only_state, only_queue, only_kind, only_tag, dead_letters, to_queue, to_priority, reason,
        rolegate.actor(), s.last_value + 1
    from rolegate.job_id s
    returning id into strict made;
    perform rolegate.wake_promoter();
    return made;
end
$$;
revoke execute on function rolegate.submit_batch(text, text, text, text, text, boolean, text, integer, text)
    from public;
grant execute on function rolegate.submit_batch(text, text, text, text, text, boolean, text, integer, text)
    to rolegate_operator;

-- It ends where it is. False if it had ended.
create function rolegate.stop_batch(batch bigint) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    update rolegate.job_batch b set state = 'cancelled', ended_at = pg_catalog.clock_timestamp()
    where b.id = batch and b.state = 'running';
    return found;
end
$$;
revoke execute on function rolegate.stop_batch(bigint) from public;
grant execute on function rolegate.stop_batch(bigint) to rolegate_operator;

-- The newest batches.
create function rolegate.batches(max_rows integer default 100) returns table (
    id bigint, action text, only_state text, only_queue text, only_kind text, only_tag text,
    dead_letters boolean, to_queue text, to_priority integer, reason text, submitted_by text,
    submitted_at timestamptz, state text, looked_at bigint, changed bigint, refused bigint, refusal text, ended_at timestamptz
)
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
begin
    if (max_rows between 1 and 1000) is not true then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'max_rows is 1 to 1000';
    end if;
    return query
    select
        b.id, b.action, b.only_state, b.only_queue, b.only_kind, b.only_tag, b.dead_letters, b.to_queue,
        b.to_priority, b.reason, b.submitted_by, b.submitted_at, b.state, b.looked_at, b.changed,
        b.refused, b.refusal, b.ended_at
    from rolegate.job_batch b order by b.id desc limit max_rows;
end
$$;
revoke execute on function rolegate.batches(integer) from public;
grant execute on function rolegate.batches(integer) to rolegate_viewer, rolegate_operator;

-- Does a part of the oldest batch. How many jobs it looked at; NULL: there is no batch.
create function rolegate.run_batch(most integer) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    b rolegate.job_batch;
    r record;
    done boolean;
    looked integer := 0;
    rows integer := 0;
begin
    select * into b from rolegate.job_batch x where x.state = 'running'
    order by x.id limit 1 for update skip locked;
    if b.id is null then
        delete from rolegate.job_batch x
        where x.ended_at < pg_catalog.clock_timestamp() - interval '90 days';
        return null;
    end if;
    for r in
        select l.id, l.state, l.next_before
        from rolegate.list_places(
            b.only_state, b.only_queue, b.only_kind, b.only_tag, b.dead_letters, b.below, most) l
        order by l.next_before desc
    loop
        rows := rows + 1;
        if r.id is not null and rolegate.batch_means(b.action, r.state) then
            looked := looked + 1;
            begin
                done := case b.action
                    when 'cancel' then rolegate.cancel(
                        r.id, coalesce(b.reason, pg_catalog.format('batch %s', b.id)))
                    when 'retry' then rolegate.retry(r.id, b.to_queue, b.to_priority)
                    else rolegate.move_job(r.id, b.to_queue, b.to_priority)
                end;
                b.changed := b.changed + done::integer;
            exception
                when lock_not_available or deadlock_detected then
                    -- Somebody decides about it just now: the next part begins here.
                    looked := looked - 1;
                    exit;
                when others then
                    b.refused := b.refused + 1;
                    b.refusal := sqlerrm;
            end;
        end if;
        b.below := r.next_before;
    end loop;
    update rolegate.job_batch x set
        below = b.below, looked_at = x.looked_at + looked, changed = b.changed, refused = b.refused,
        refusal = b.refusal, state = case when rows = 0 then 'done' else 'running' end,
        ended_at = case when rows = 0 then pg_catalog.clock_timestamp() end
    where x.id = b.id;
    return looked;
end
$$;
revoke execute on function rolegate.run_batch(integer) from public;
grant execute on function rolegate.run_batch(integer) to rolegate_maintenance;

-- How long things are kept, and how far the ring may grow. NULL keeps a setting.
create function rolegate.set_job_retention(
    completed interval default null, failed interval default null, dead_letters interval default null,
    max_segments integer default null
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    update rolegate.job_setting s set
        completed_retention = coalesce(completed, s.completed_retention),
        failed_retention = coalesce(failed, s.failed_retention),
        dead_letter_retention = coalesce(dead_letters, s.dead_letter_retention),
        max_segments = coalesce(set_job_retention.max_segments, s.max_segments);
    perform rolegate.wake_promoter();
end
$$;
revoke execute on function rolegate.set_job_retention(interval, interval, interval, integer) from public;
grant execute on function rolegate.set_job_retention(interval, interval, interval, integer)
    to rolegate_operator;

create function rolegate.job_retention(
    out completed interval, out failed interval, out dead_letters interval, out max_segments integer
)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select s.completed_retention, s.failed_retention, s.dead_letter_retention, s.max_segments::integer
    from rolegate.job_setting s
$$;
revoke execute on function rolegate.job_retention() from public;
grant execute on function rolegate.job_retention() to rolegate_viewer, rolegate_operator;
