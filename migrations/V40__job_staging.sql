-- A table for `copy` and for `insert`: producers may insert into its columns from `kind` on, and nothing
-- else. The maintenance moves what is committed to where jobs are, so that nothing here is on the way of
-- those that are enqueued by a function.

create table rolegate.job_staging (
    id bigint generated always as identity primary key,
    -- Whose job it is, as in job_principal(): side by side, before anything that a producer can name.
    role_name name not null default coalesce(
        nullif(pg_catalog.current_setting('role'), 'none')::name, session_user),
    role_oid oid not null default pg_catalog.to_regrole(pg_catalog.quote_ident(coalesce(
        nullif(pg_catalog.current_setting('role'), 'none')::name, session_user)))::oid,
    token_id text default case
        when pg_catalog.current_setting('rolegate.signed_claims', true) <> '' then nullif(
            pg_catalog.split_part(
                pg_catalog.current_setting('rolegate.signed_claims', true), '|', 7), '')
    end,
    -- Raises if they don't verify.
    claims jsonb default case
        when pg_catalog.current_setting('rolegate.signed_claims', true) <> ''
            then rolegate.claims() - array['exp', 'iat', 'nbf', 'jti', 'aud', 'azp']
    end,
    staged_at timestamptz not null default pg_catalog.now(),
    -- It could not be moved when it was tried, because somebody decides about its unique key.
    put_off_until timestamptz,

    -- The arguments of enqueue(). No default is volatile, or `copy` would write row by row.
    kind text not null
        constraint "kind has 1 to 200 characters" check (pg_catalog.length(kind) between 1 and 200),
    args jsonb not null default '{}',
    queue text not null default 'default',
    priority smallint not null default 2
        constraint "priority is 1 (first) to 4" check (priority between 1 and 4),
    max_attempts smallint not null default 25
        constraint "max_attempts is 1 to 1000" check (max_attempts between 1 and 1000),
    run_at timestamptz
        constraint "run_at is a time that comes" check (pg_catalog.isfinite(run_at)),
    -- Instead of `run_at`: from the beginning of the producer's transaction.
    run_after interval
        constraint "run_after is at most 100 years" check (run_after <= interval '100 years'),
    unique_key text
        constraint "a unique_key has at most 1000 characters" check (pg_catalog.length(unique_key) <= 1000),
    on_conflict text not null default 'error'
        constraint "on_conflict is error or existing" check (on_conflict in ('error', 'existing')),
    unique_for interval
        constraint "unique_for is at most 100 years" check (unique_for <= interval '100 years'),
    deadline interval
        constraint "deadline is above zero and at most 100 years"
            check (deadline > interval '0' and deadline <= interval '100 years'),
    tags text[]
        constraint "a job has at most 20 tags, of 4000 characters, none is NULL" check (
            case
                when pg_catalog.cardinality(tags) > 20 or pg_catalog.array_ndims(tags) > 1 then false
                else pg_catalog.array_position(tags, null) is null
                    and pg_catalog.length(pg_catalog.array_to_string(tags, '')) <= 4000
            end),
    metadata jsonb,
    -- As in request_trace().
    trace text default pg_catalog.substring(
        pg_catalog.current_setting('request.headers', true),
        '"traceparent" *: *"([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})"')
        constraint "trace has at most 200 characters" check (pg_catalog.length(trace) <= 200),
    ordering_key text
        constraint "an ordering_key has 1 to 200 characters"
            check (pg_catalog.length(ordering_key) between 1 and 200),
    limit_key text
        constraint "a limit_key has 1 to 200 characters"
            check (pg_catalog.length(limit_key) between 1 and 200),
    backoff interval
        constraint "backoff is from zero to 100 years"
            check (backoff between interval '0' and interval '100 years'),
    max_backoff interval
        constraint "max_backoff is from zero to 100 years"
            check (max_backoff between interval '0' and interval '100 years'),
    constraint "an ordering_key or a limit_key, not both"
        check (ordering_key is null or limit_key is null),
    constraint "run_at or run_after, not both" check (run_at is null or run_after is null)
);
-- Those that somebody holds up, beside those that nobody has looked at yet.
create index job_staging_put_off on rolegate.job_staging (put_off_until, id) where put_off_until is not null;
grant insert (
    kind, args, queue, priority, max_attempts, run_at, run_after, unique_key, on_conflict, unique_for,
    deadline, tags, metadata, trace, ordering_key, limit_key, backoff, max_backoff
) on rolegate.job_staging to rolegate_producer;

-- Once for each statement: refuses queues that are not there, and wakes whoever moves.
create function rolegate.job_staged() returns trigger
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    unknown text;
begin
    select s.queue into unknown from staged s
    where not exists (select from rolegate.job_queue q where q.name = s.queue) limit 1;
    if found then
        -- Says so.
        perform rolegate.queue_id(unknown);
    end if;
    perform rolegate.wake_promoter();
    return null;
end
$$;
revoke execute on function rolegate.job_staged() from public;
create trigger job_staged after insert on rolegate.job_staging referencing new table as staged
    for each statement execute function rolegate.job_staged();

-- One moves at a time, or jobs of two parts could overtake each other.
create function rolegate.staging_lock_key() returns bigint
language sql immutable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select rolegate.maintenance_lock_key() + 2 $$;
revoke execute on function rolegate.staging_lock_key() from public;

-- Moves these rows, in their order, all or none. A unique key that a job has already: the row is a dead
-- letter, or (`on_conflict`) nothing. Waits for whoever decides about one just now.
create function rolegate.move_staged(
    ids bigint[], out moved integer, out existing integer, out refused integer
)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    segment constant smallint := rolegate.write_segment();
    queues integer[];
    deferred boolean;
begin
    -- A transaction has its number before it takes an id: see V16.
    perform pg_catalog.pg_current_xact_id();
    -- What is kept of them is decided here: the producer has no right to look.
    update rolegate.job_staging s
    set claims = rolegate.kept_claims(s.claims), token_id = rolegate.kept_token(s.token_id)
    where s.id = any (ids) and s.claims is not null;
    with gone as materialized (
        delete from rolegate.job_staging s where s.id = any (ids) returning s.*
    ),
    -- By the digest of job_principal().
    owned as materialized (
        select
            pg_catalog.sha256(pg_catalog.convert_to(
                pg_catalog.concat_ws('|', g.role_oid, g.role_name, coalesce(g.token_id, ''), g.claims),
                'UTF8')) as digest,
            g.*
        from gone g
    ),
    known as materialized (
        select distinct on (p.digest) p.digest, p.id
        from (select distinct o.digest from owned o) o
        join rolegate.job_principal p on p.digest = o.digest
        order by p.digest, p.id
    ),
    made as (
        insert into rolegate.job_principal (digest, role_name, role_oid, token_id, claims)
        select distinct on (o.digest) o.digest, o.role_name, o.role_oid, o.token_id, o.claims
        from owned o where not exists (select from known k where k.digest = o.digest)
        order by o.digest
        returning digest, id
    ),
    principal as materialized (
        select k.digest, k.id from known k union all select m.digest, m.id from made m
    ),
    sorted as (
        select
            o.*, q.id * 4 + o.priority - 1 as lane, p.id as principal,
            coalesce(o.run_at, o.staged_at + o.run_after) as due_at,
            case when o.unique_key is not null then pg_catalog.sha256(pg_catalog.convert_to(
                pg_catalog.length(o.kind)::text || '|' || o.kind || o.unique_key, 'UTF8')) end as key,
            case when o.ordering_key is null and o.limit_key is null then 0 else 2 end::smallint as flags,
            nullif(
                pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
                    'deadline', extract(epoch from o.deadline), 'tags', pg_catalog.to_jsonb(o.tags),
                    'trace', o.trace, 'ordering_key', o.ordering_key, 'limit_key', o.limit_key,
                    'backoff', extract(epoch from o.backoff),
                    'max_backoff', extract(epoch from o.max_backoff)))
                || case
                    when o.metadata is null then '{}'
                    else pg_catalog.jsonb_build_object('metadata', o.metadata)
                end,
                '{}') as options
        from owned o
        join rolegate.job_queue q on q.name = o.queue
        join principal p on p.digest = o.digest
        order by o.id
    ),
    job as materialized (
        select pg_catalog.nextval('rolegate.job_id') as root, s.* from sorted s
    ),
    taken as (
        -- As in take_unique_key(). In the order of the keys, and of two rows with one key the first.
        insert into rolegate.job_unique as u (key, root, held_until)
        select f.key, f.root, f.held_until
        from (
            select distinct on (j.key)
                j.key, j.root, pg_catalog.clock_timestamp() + j.unique_for as held_until
            from job j where j.key is not null
            order by j.key, j.root
        ) f
        order by f.key
        on conflict (key) do update
        set root = excluded.root, held_until = excluded.held_until, ended = false
        where u.ended and u.held_until <= pg_catalog.clock_timestamp()
        returning u.key, u.root
    ),
    judged as materialized (
        select
            j.*, j.key is not null and t.root is distinct from j.root as late,
            coalesce(t.root, u.root) as holder,
            case when j.key is null then j.flags else j.flags | 1::smallint end as its_flags
        from job j
        left join taken t on t.key = j.key
        left join rolegate.job_unique u on u.key = j.key
    ),
    ring as (
        insert into rolegate.job (
            id, lane, segment, max_attempts, flags, kind, principal, args, options)
        select
            j.root, j.lane, segment, j.max_attempts, j.its_flags, j.kind, j.principal, j.args, j.options
        from judged j
        where not j.late and (j.due_at > pg_catalog.clock_timestamp()) is not true
        order by j.root
        returning id, lane
    ),
    later as (
        insert into rolegate.job_deferred (
            root, run_at, enqueued_at, lane, attempt, max_attempts, flags, kind, principal, args,
            options)
        select
            j.root, j.due_at, pg_catalog.clock_timestamp(), j.lane, 0, j.max_attempts, j.its_flags,
            j.kind, j.principal, j.args, j.options
        from judged j
        where not j.late and not exists (select from ring r where r.id = j.root)
        returning root
    ),
    letters as (
        insert into rolegate.job_ended (
            root, state, reason, error, dead_letter, keep_until, enqueued_at, lane, attempt,
            max_attempts, flags, kind, principal, args, options)
        select
            j.root, 'failed', 'unique_key_taken',
            pg_catalog.to_jsonb(coalesce(
                pg_catalog.format('job %s has this unique key', j.holder),
                'another job has this unique key')),
            true, pg_catalog.clock_timestamp() + s.dead_letter_retention, j.staged_at, j.lane, 0,
            j.max_attempts, j.flags, j.kind, j.principal, j.args, j.options
        from judged j, rolegate.job_setting s
        where j.late and j.on_conflict = 'error'
        returning root
    )
    select
        (select pg_catalog.count(*) from ring) + (select pg_catalog.count(*) from later),
        (select pg_catalog.count(*) from judged j where j.late and j.on_conflict = 'existing'),
        (select pg_catalog.count(*) from letters),
        (select pg_catalog.array_agg(distinct r.lane / 4) from ring r),
        exists (select from later)
    into moved, existing, refused, queues, deferred;
    if moved + existing + refused <> pg_catalog.cardinality(ids) then
        raise exception using
            errcode = 'no_data_found',
            message = pg_catalog.format(
                'of %s rows %s were moved', pg_catalog.cardinality(ids), moved + existing + refused);
    end if;
    perform rolegate.wake(q) from pg_catalog.unnest(queues) q;
    if deferred then
        perform rolegate.wake_promoter();
    end if;
end
$$;
revoke execute on function rolegate.move_staged(bigint[]) from public;

-- It can't be moved: a dead letter that says why, of the same principal as the job would be.
create function rolegate.refuse_staged(staged bigint, problem text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    s rolegate.job_staging;
    wanted bytea;
    principal bigint;
begin
    delete from rolegate.job_staging x where x.id = staged returning x.* into strict s;
    s.claims := rolegate.kept_claims(s.claims);
    s.token_id := rolegate.kept_token(s.token_id);
    wanted := pg_catalog.sha256(pg_catalog.convert_to(
        pg_catalog.concat_ws('|', s.role_oid, s.role_name, coalesce(s.token_id, ''), s.claims), 'UTF8'));
    select p.id into principal from rolegate.job_principal p where p.digest = wanted order by p.id limit 1;
    if principal is null then
        insert into rolegate.job_principal (digest, role_name, role_oid, token_id, claims)
        values (wanted, s.role_name, s.role_oid, s.token_id, s.claims)
        returning id into strict principal;
    end if;
    insert into rolegate.job_ended (
        root, state, reason, error, dead_letter, keep_until, enqueued_at, lane, attempt, max_attempts,
        flags, kind, principal, args)
    select
        pg_catalog.nextval('rolegate.job_id'), 'failed', 'not_enqueued',
        pg_catalog.jsonb_build_object('message', problem, 'staged', pg_catalog.to_jsonb(s) - array[
            'id', 'role_name', 'role_oid', 'token_id', 'claims', 'put_off_until', 'kind', 'args']),
        true, pg_catalog.clock_timestamp() + r.dead_letter_retention, s.staged_at,
        coalesce((select q.id from rolegate.job_queue q where q.name = s.queue), 1) * 4
            + least(greatest(s.priority, 1), 4) - 1,
        0, least(greatest(s.max_attempts, 1), 1000), 0, s.kind, principal, s.args
    from rolegate.job_setting r;
end
$$;
revoke execute on function rolegate.refuse_staged(bigint, text) from public;

-- Moves these rows, in parts if they can't be moved at once: whatever is wrong with one keeps no other
-- from it. Of those whose unique key somebody decides about just now none is waited for longer than
-- `lock_timeout`, and at most `patience` of them are.
create function rolegate.move_staged_parts(
    ids bigint[], patience integer,
    out moved integer, out existing integer, out refused integer, out put_off integer
)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    size integer := pg_catalog.cardinality(ids);
    problem text;
    is_locked boolean := false;
    is_trouble boolean := false;
    parts jsonb;
    part bigint[];
    did record;
begin
    moved := 0;
    existing := 0;
    refused := 0;
    put_off := 0;
    if size = 0 then
        return;
    end if;
    begin
        select m.moved, m.existing, m.refused into moved, existing, refused
        from rolegate.move_staged(ids) m;
        return;
    exception
        when lock_not_available or deadlock_detected then
            is_locked := true;
        when others then
            -- The server's troubles are not the row's: connections, disk, its end.
            if sqlstate ~ '^(08|40|57|58)'
                or sqlstate in ('53100', '53300', '53400', 'XX001', 'XX002')
            then
                raise;
            end if;
            -- Memory, and what the server did not expect, may be either: it is tried again, and nothing
            -- behind it waits.
            is_trouble := sqlstate ~ '^(53|XX)';
            problem := sqlerrm;
    end;
    if is_locked and not exists (
        select from rolegate.job_staging s where s.id = any (ids) and s.unique_key is not null)
    then
        raise exception using
            errcode = 'lock_not_available', message = 'somebody holds a lock on a table of jobs';
    end if;
    if size = 1 and is_locked then
        -- The longer it has waited, the less often it is tried.
        update rolegate.job_staging s
        set put_off_until = pg_catalog.clock_timestamp() + least(
            greatest(pg_catalog.clock_timestamp() - s.staged_at, interval '1 second'),
            interval '1 minute')
        where s.id = ids[1];
        put_off := 1;
        return;
    elsif size = 1 then
        if not is_trouble then
            begin
                perform rolegate.refuse_staged(ids[1], problem);
                refused := 1;
                return;
            exception when others then
                null;
            end;
        end if;
        update rolegate.job_staging s
        set put_off_until = pg_catalog.clock_timestamp() + interval '1 hour'
        where s.id = ids[1];
        put_off := 1;
        return;
    end if;
    if is_locked then
        -- Those without a key first: nobody else decides about them.
        select pg_catalog.jsonb_agg(p.part order by p.nth) into parts
        from (
            select
                case when s.unique_key is null then 0 else s.id end as nth,
                pg_catalog.jsonb_agg(s.id order by s.id) as part
            from rolegate.job_staging s where s.id = any (ids)
            group by 1
        ) p;
    else
        parts := pg_catalog.jsonb_build_array(ids[:size / 2], ids[size / 2 + 1:]);
    end if;
    for part in
        select array(select pg_catalog.jsonb_array_elements_text(p.part)::bigint)
        from pg_catalog.jsonb_array_elements(parts) with ordinality p (part, nth) order by p.nth
    loop
        select * into did from rolegate.move_staged_parts(part, patience - put_off);
        moved := moved + did.moved;
        existing := existing + did.existing;
        refused := refused + did.refused;
        put_off := put_off + did.put_off;
        if put_off >= patience then
            -- The others are not tried now, so that those behind them are.
            update rolegate.job_staging s
            set put_off_until = pg_catalog.clock_timestamp() + interval '1 second'
            where s.id = any (ids) and s.unique_key is not null
                and (s.put_off_until > pg_catalog.clock_timestamp()) is not true;
            get diagnostics size = row_count;
            put_off := put_off + size;
            exit;
        end if;
    end loop;
end
$$;
revoke execute on function rolegate.move_staged_parts(bigint[], integer) from public;

-- Moves the oldest rows that were committed; `more`: there are others. All numbers zero: there is nothing
-- to move, or another one does.
create function rolegate.move_staged_jobs(
    most integer, out moved integer, out existing integer, out refused integer, out put_off integer,
    out more boolean
)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    ids bigint[];
    again bigint[];
begin
    if (most between 1 and 10000) is not true then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'most is 1 to 10000';
    end if;
    moved := 0;
    existing := 0;
    refused := 0;
    put_off := 0;
    more := false;
    if not pg_catalog.pg_try_advisory_xact_lock(rolegate.staging_lock_key()) then
        return;
    end if;
    -- Lost in a crash of the server, the rows are where they were.
    perform pg_catalog.set_config('synchronous_commit', 'off', true),
        pg_catalog.set_config('jit', 'off', true),
        pg_catalog.set_config('lock_timeout', '20ms', true);
    ids := array(
        select s.id from rolegate.job_staging s where s.put_off_until is null
        order by s.id limit most + 1);
    more := pg_catalog.cardinality(ids) > most;
    ids := ids[:most];
    -- Those that were put off get what is left, a tenth at least, however many there are: whoever holds up his
    -- own must not hold up others.
    again := array(
        select s.id from rolegate.job_staging s where s.put_off_until <= pg_catalog.clock_timestamp()
        order by s.put_off_until, s.id
        limit greatest(most / 10, 1, most - pg_catalog.cardinality(ids)));
    ids := array(select i from pg_catalog.unnest(ids || again) i order by i);
    select m.* into moved, existing, refused, put_off
    from rolegate.move_staged_parts(ids, 10) m;
end
$$;
revoke execute on function rolegate.move_staged_jobs(integer) from public;
grant execute on function rolegate.move_staged_jobs(integer) to rolegate_maintenance;

-- Rows that were moved are dead, and stay in the table until they are vacuumed, or while the horizon is
-- held. When it is large, none of its rows is alive and nobody writes to it, it is emptied whole. Never
-- waits, so that no producer waits behind it. True if it did.
create function rolegate.truncate_staging() returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    if pg_catalog.pg_table_size('rolegate.job_staging') < 1000000
        -- Of an older moment one can't say that nothing is there.
        or pg_catalog.current_setting('transaction_isolation') <> 'read committed'
        or exists (select from rolegate.job_staging)
    then
        return false;
    end if;
    begin
        lock table rolegate.job_staging in access exclusive mode nowait;
    exception when lock_not_available then
        return false;
    end;
    -- From here on all who wrote to it have ended, and nobody begins.
    if exists (select from rolegate.job_staging) then
        return false;
    end if;
    truncate rolegate.job_staging;
    return true;
end
$$;
revoke execute on function rolegate.truncate_staging() from public;
grant execute on function rolegate.truncate_staging() to rolegate_maintenance;

-- What waits there, counted up to 100,000; `put_off` of it for its unique key.
create function rolegate.staging(out waiting bigint, out put_off bigint, out oldest interval)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select
        pg_catalog.count(*), pg_catalog.count(s.put_off_until),
        pg_catalog.clock_timestamp() - min(s.staged_at)
    from (
        select x.staged_at, x.put_off_until from rolegate.job_staging x order by x.id limit 100000
    ) s
$$;
revoke execute on function rolegate.staging() from public;
grant execute on function rolegate.staging() to rolegate_maintenance, rolegate_operator, rolegate_viewer;
