-- Flows: jobs that wait for others. A parent is put aside until its children have ended; whatever ends a
-- child leaves a note (an opening of the parent's queue), and the next claim of that queue looks.

create table rolegate.job_child (
    child bigint primary key,
    parent bigint not null,
    -- Of the parent, when it was enqueued; its worker is the one who looks.
    queue integer not null,
    -- NULL: it has not ended.
    state text check (state in ('completed', 'failed', 'cancelled'))
);
create index job_child_parent on rolegate.job_child (parent);

-- A child has ended.
create function rolegate.child_ended(child bigint) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    c rolegate.job_child;
begin
    update rolegate.job_child x
    set state = coalesce(
        (select e.state from rolegate.job_ended e where e.root = child_ended.child), 'completed')
    where x.child = child_ended.child
    returning x.* into c;
    -- The parent may have been cancelled meanwhile.
    if c.parent is not null then
        insert into rolegate.job_opening (queue, key) values (c.queue, 'c:' || c.parent);
        perform rolegate.wake(c.queue);
    end if;
end
$$;
revoke execute on function rolegate.child_ended(bigint) from public;

-- Puts the parent into its lane if nothing holds it up any more. How many jobs that were.
create function rolegate.look_at_children(parent bigint) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    policy text;
    children record;
    d rolegate.job_deferred;
begin
    select coalesce(x.options ->> 'on_failure', 'cancel') into policy from rolegate.job_deferred x
    where x.root = look_at_children.parent and x.waits_for = 'c:' || x.root;
    if policy is null then
        return 0;
    end if;
    select
        pg_catalog.count(*) filter (where c.state is null) as open,
        pg_catalog.count(*) filter (where c.state <> 'completed') as bad,
        min(c.child) filter (where c.state <> 'completed') as first_bad
    into children
    from rolegate.job_child c where c.parent = look_at_children.parent;
    if (case policy
        when 'cancel' then children.open > 0 and children.bad = 0
        when 'run' then children.open > 0
        else children.open > 0 or children.bad > 0
    end) then
        return 0;
    end if;
    delete from rolegate.job_deferred x
    where x.root = look_at_children.parent and x.waits_for is not null
    returning x.* into d;
    if d.root is null then
        return 0;
    end if;
    if policy = 'cancel' and children.bad > 0 then
        perform rolegate.end_job(
            rolegate.job_row(
                d.root, d.enqueued_at, d.lane, d.attempt, d.max_attempts, d.flags, d.kind, d.principal,
                d.args, d.options),
            'cancelled', 'child_failed',
            pg_catalog.to_jsonb(pg_catalog.format('job %s did not complete', children.first_bad)));
        return 0;
    end if;
    perform rolegate.requeue_job(
        rolegate.job_row(
            d.root, d.enqueued_at, d.lane, d.attempt, d.max_attempts, d.flags, d.kind, d.principal,
            d.args, d.options),
        d.run_at, null);
    return 1;
end
$$;
revoke execute on function rolegate.look_at_children(bigint) from public;

-- One job of a flow and those below it; `made` counts them.
create function rolegate.enqueue_node(
    node jsonb, parent bigint, parent_queue integer, principal bigint, depth integer, path text,
    inout made integer, out id bigint
)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    wrong text;
    strange text;
    children constant jsonb := coalesce(node -> 'children', '[]');
    lane integer;
    flags smallint;
    options jsonb;
    run_at constant timestamptz := node ->> 'run_at';
    child record;
begin
    select k into strange from pg_catalog.jsonb_object_keys(
        case when pg_catalog.jsonb_typeof(node) = 'object' then node else '{}' end) k
    where k <> all (array[
        'kind', 'args', 'queue', 'run_at', 'priority', 'max_attempts', 'deadline', 'tags', 'metadata',
        'trace', 'ordering_key', 'limit_key', 'backoff', 'max_backoff', 'children', 'on_failure'])
    limit 1;
    wrong := case
        when pg_catalog.jsonb_typeof(node) <> 'object' then 'a job is an object'
        when strange is not null then pg_catalog.format('a job has no %L', strange)
        when pg_catalog.jsonb_typeof(children) <> 'array' then 'children is an array'
        when depth > 10 then 'a flow is at most 10 jobs deep'
        when made >= 10000 then 'a flow has at most 10000 jobs'
        when coalesce(node ->> 'on_failure', 'cancel') not in ('cancel', 'run', 'wait')
            then 'on_failure is cancel, run or wait'
        when node ? 'ordering_key' and node ? 'limit_key'
            then 'a job has an ordering_key or a limit_key, not both'
        when pg_catalog.length(coalesce(node ->> 'ordering_key', node ->> 'limit_key'))
            not between 1 and 200 then 'a key has 1 to 200 characters'
        when pg_catalog.jsonb_typeof(coalesce(node -> 'tags', '[]')) <> 'array'
            or pg_catalog.jsonb_array_length(coalesce(node -> 'tags', '[]')) > 20
            then 'a job has at most 20 tags'
        when node ? 'tags' and exists (
            select from pg_catalog.jsonb_array_elements(node -> 'tags') t (tag)
            where pg_catalog.jsonb_typeof(t.tag) <> 'string' or pg_catalog.length(t.tag #>> '{}') > 200)
            then 'a tag is a text of at most 200 characters'
        when pg_catalog.length(node ->> 'trace') > 200 then 'trace has at most 200 characters'
        when (node ->> 'deadline')::interval <= interval '0'
            or (node ->> 'deadline')::interval > interval '100 years'
            then 'deadline is above zero and at most 100 years'
        when ((node ->> 'backoff')::interval between interval '0' and interval '100 years') is false
            or ((node ->> 'max_backoff')::interval between interval '0' and interval '100 years') is false
            then 'backoff and max_backoff are from zero to 100 years'
        when run_at = 'infinity' then 'run_at is a time that comes'
    end;
    if wrong is not null then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = pg_catalog.format('%s: %s', path, wrong);
    end if;
    lane := rolegate.job_lane(
        node ->> 'kind', coalesce(node -> 'args', '{}'), coalesce(node ->> 'queue', 'default'),
        coalesce((node ->> 'priority')::integer, 2), coalesce((node ->> 'max_attempts')::integer, 25));
    flags := case when node ? 'ordering_key' or node ? 'limit_key' then 2 else 0 end
        + case when parent is null then 0 else 8 end
        + case when children = '[]' then 0 else 64 end;
    options := pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'deadline', extract(epoch from (node ->> 'deadline')::interval), 'tags', node -> 'tags',
        'trace', node ->> 'trace', 'ordering_key', node ->> 'ordering_key',
        'limit_key', node ->> 'limit_key',
        'backoff', extract(epoch from (node ->> 'backoff')::interval),
        'max_backoff', extract(epoch from (node ->> 'max_backoff')::interval), 'on_failure', node ->> 'on_failure', 'parent', parent));
    if node ? 'metadata' then
        options := options || pg_catalog.jsonb_build_object('metadata', node -> 'metadata');
    end if;
    -- A transaction has its number before it takes an id: see V16.
    perform pg_catalog.pg_current_xact_id();
    id := pg_catalog.nextval('rolegate.job_id');
    made := made + 1;
    if children <> '[]' or run_at > pg_catalog.clock_timestamp() then
        insert into rolegate.job_deferred (
            root, run_at, reason, enqueued_at, lane, attempt, max_attempts, flags, kind, principal,
            args, options, waits_for)
        values (
            id, coalesce(run_at, pg_catalog.clock_timestamp()),
            case when children <> '[]' then 'children' end, pg_catalog.clock_timestamp(), lane, 0,
            coalesce((node ->> 'max_attempts')::integer, 25), flags, node ->> 'kind', principal,
            coalesce(node -> 'args', '{}'), nullif(options, '{}'),
            case when children <> '[]' then 'c:' || id end);
        perform rolegate.wake_promoter();
    else
        insert into rolegate.job (
            id, lane, segment, max_attempts, flags, kind, principal, args, options)
        values (
            id, lane, rolegate.write_segment(), coalesce((node ->> 'max_attempts')::integer, 25), flags,
            node ->> 'kind', principal, coalesce(node -> 'args', '{}'), nullif(options, '{}'));
        perform rolegate.wake(lane / 4);
    end if;
    if parent is not null then
        insert into rolegate.job_child (child, parent, queue) values (id, parent, parent_queue);
    end if;
    for child in
        select c.node, c.nth from pg_catalog.jsonb_array_elements(children) with ordinality c (node, nth)
        order by c.nth
    loop
        made := (rolegate.enqueue_node(
            -- What it says itself counts.
            case
                when node ? 'trace' and pg_catalog.jsonb_typeof(child.node) = 'object'
                    then pg_catalog.jsonb_build_object('trace', node -> 'trace') || child.node
                else child.node
            end,
            id, lane / 4, principal, depth + 1,
            pg_catalog.format('%s.children[%s]', path, child.nth - 1), made)).made;
    end loop;
end
$$;
revoke execute on function rolegate.enqueue_node(jsonb, bigint, integer, bigint, integer, text, integer)
    from public;

-- A job that runs when its `children` have ended, which may have children themselves. Each is an object
-- with the arguments of enqueue() of these names: kind, args, queue, run_at, priority, max_attempts,
-- deadline, tags, metadata, trace, ordering_key, limit_key. `on_failure` of a job with children says what
-- follows when one of them fails or is cancelled: `cancel` (the job is cancelled, the other children go
-- on), `run` (it runs when all have ended), `wait` (until somebody retries the child).
create function rolegate.enqueue_flow(flow jsonb) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    if flow is null then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'a flow is an object, not NULL';
    end if;
    if pg_catalog.jsonb_typeof(flow) = 'object' then
        flow := pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('trace', rolegate.request_trace()))
            || flow;
    end if;
    return (rolegate.enqueue_node(flow, null, null, rolegate.job_principal(), 1, 'flow', 0)).id;
end
$$;
revoke execute on function rolegate.enqueue_flow(jsonb) from public;
grant execute on function rolegate.enqueue_flow(jsonb) to rolegate_producer;

-- The children of a job that has not ended, for whoever may see it, in the order in which they were
-- enqueued, with the outputs of those that have completed.
create function rolegate.job_children(job_id bigint, after_id bigint default 0, max_rows integer default 100)
returns table (id bigint, state text, output jsonb, error jsonb)
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
    select c.child, coalesce(c.state, j.state), j.output, j.error
    from (
        select x.* from rolegate.job_child x
        where x.parent = job_id and x.child > after_id
        order by x.child limit max_rows
    ) c
    cross join lateral rolegate.job(c.child) j
    order by c.child;
end
$$;
revoke execute on function rolegate.job_children(bigint, bigint, integer) from public;
grant execute on function rolegate.job_children(bigint, bigint, integer)
    to rolegate_producer, rolegate_viewer, rolegate_operator;
