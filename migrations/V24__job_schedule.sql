-- Who does the maintenance, when there is some to do, and jobs that are enqueued by the clock.

-- Who leads. The lock decides; the row says who, and how often that changed. It is written when
-- somebody becomes the leader and not while he is one: what is idle writes nothing.
create table rolegate.job_leader (
    only_row boolean primary key default true check (only_row),
    term bigint not null,
    name text,
    pid integer,
    since timestamptz
);
insert into rolegate.job_leader (term) values (0);

-- Not that of the steps, which anybody may take for one of them while somebody leads.
create function rolegate.leader_lock_key() returns bigint
language sql immutable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select rolegate.maintenance_lock_key() + 1 $$;
revoke execute on function rolegate.leader_lock_key() from public;

-- Makes this session the leader's, until it ends. The term, or NULL: another one leads. A leader does
-- everything on the session with the lock, and has the server end it when he is silent, so that
-- whoever does not lead any more can do nothing any more.
create function rolegate.lead_maintenance(name text) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    now_leading bigint;
begin
    if name is null then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'a leader has a name';
    end if;
    if not pg_catalog.pg_try_advisory_lock(rolegate.leader_lock_key()) then
        return null;
    end if;
    perform rolegate.adopt_jobs();
    update rolegate.job_leader l
    set term = l.term + 1, name = lead_maintenance.name, pid = pg_catalog.pg_backend_pid(),
        since = pg_catalog.clock_timestamp()
    returning l.term into strict now_leading;
    return now_leading;
end
$$;
revoke execute on function rolegate.lead_maintenance(text) from public;
grant execute on function rolegate.lead_maintenance(text) to rolegate_maintenance;

-- Who leads, or led last.
create function rolegate.maintenance_leader(
    out term bigint, out name text, out since timestamptz, out leads boolean
)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select
        l.term, l.name, l.since,
        exists (
            select from pg_catalog.pg_locks k
            where k.locktype = 'advisory' and k.granted and k.objsubid = 1 and k.pid = l.pid
                and k.classid::bigint = rolegate.leader_lock_key() >> 32
                and k.objid::bigint = rolegate.leader_lock_key() & x'ffffffff'::bigint
                and k.database = (
                    select d.oid from pg_catalog.pg_database d
                    where d.datname = pg_catalog.current_database()))
    from rolegate.job_leader l
$$;
revoke execute on function rolegate.maintenance_leader() from public;
grant execute on function rolegate.maintenance_leader() to rolegate_operator, rolegate_viewer;

-- When what has to be done next, in seconds from now; NULL: nothing that is known of. Only looks.
create function rolegate.maintenance_due(
    silence interval,
    out promote_in double precision, out rescue_in double precision, out cron_in double precision,
    out rotate_in double precision, out close_due boolean, out empty_in double precision,
    out prune_in double precision, out batches_in double precision, out stage_in double precision,
    -- The ring: segments that are used, segments there are, whether it may not grow any more.
    out turns integer, out segments integer, out full_ring boolean, out oldest_age double precision
)
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    at constant timestamptz := pg_catalog.clock_timestamp();
    setting rolegate.job_setting;
    newest rolegate.job_turn;
    oldest rolegate.job_turn;
begin
    select * into strict setting from rolegate.job_setting;
    select * into strict newest from rolegate.job_turn t order by t.turn desc limit 1;
    select * into strict oldest from rolegate.job_turn t order by t.turn limit 1;
    select pg_catalog.count(*) into strict turns from rolegate.job_turn;
    select pg_catalog.count(*) into strict segments from pg_catalog.pg_inherits i
    where i.inhparent = 'rolegate.job'::pg_catalog.regclass;
    full_ring := turns >= segments and segments >= setting.max_segments;
    oldest_age := extract(epoch from at - oldest.started_at);

    -- Whatever stands there, this must not fail.
    promote_in := extract(epoch from (
        select nullif(d.run_at, 'infinity') from rolegate.job_deferred d
        where d.waits_for is null order by d.run_at limit 1) - at);
    rescue_in := extract(epoch from (
        select min(w.seen_at + case when w.open_from is null then interval '1 day' else silence end)
        from rolegate.job_worker w) - at);
    cron_in := extract(epoch from (
        select min(coalesce(c.next_fire, at)) from rolegate.job_cron c
        where c.paused_at is null and c.problem is null) - at);
    -- As in rotate_jobs().
    if not full_ring and (
        pg_catalog.pg_relation_size(pg_catalog.format('rolegate.job_%s', newest.segment)) > 0
        or pg_catalog.pg_relation_size(
            pg_catalog.format('rolegate.job_outcome_%s', newest.segment)) > 0)
    then
        rotate_in := extract(epoch from newest.started_at
            + greatest(setting.completed_retention / 2, interval '1 second') - at);
    end if;
    close_due := exists (
        select from rolegate.job_turn t where t.turn < newest.turn and t.closed_at is null);
    if oldest.turn < newest.turn then
        empty_in := extract(epoch from oldest.closed_at + setting.completed_retention - at);
    end if;
    if exists (select from rolegate.job_batch b where b.state = 'running') then
        batches_in := 0;
    end if;
    stage_in := case
        when exists (select from rolegate.job_staging s where s.put_off_until is null) then 0
        else extract(epoch from (select min(s.put_off_until) from rolegate.job_staging s) - at)
    end;
    prune_in := extract(epoch from least(
        (select e.keep_until from rolegate.job_ended e order by e.keep_until limit 1),
        (select u.held_until from rolegate.job_unique u where u.ended
            order by u.held_until limit 1)) - at);
end
$$;
revoke execute on function rolegate.maintenance_due(interval) from public;
grant execute on function rolegate.maintenance_due(interval) to rolegate_maintenance;

-- Jobs by the clock. What an expression means is the leader's business; the database keeps what is
-- due, and that nothing fires twice.
create table rolegate.job_cron (
    name text primary key check (name <> '' and pg_catalog.length(name) <= 200),
    expression text not null check (expression <> '' and pg_catalog.length(expression) <= 200),
    time_zone text not null check (time_zone <> '' and pg_catalog.length(time_zone) <= 100),
    kind text not null,
    args jsonb not null,
    lane integer not null,
    max_attempts smallint not null,
    -- For whom its jobs run: who declared it.
    principal bigint not null references rolegate.job_principal,
    -- What happens to times that passed while nobody led.
    missed text not null check (missed in ('coalesce', 'catch_up')),
    -- Does not fire while a job of it has not ended.
    only_one boolean not null,
    source text not null check (source in ('code', 'sql')),
    -- Whose list it is in, if it is in one: see declare_crons().
    declared_in text check (declared_in is null or source = 'code'),
    paused_at timestamptz,
    paused_by text,
    -- Counts from here, or from the last time that fired.
    since timestamptz not null default pg_catalog.clock_timestamp(),
    last_fire timestamptz,
    last_job bigint,
    -- NULL: the leader has to compute it.
    next_fire timestamptz,
    -- Why it does not fire: the expression or the time zone can't be read.
    problem text,
    -- Changes with everything above, so that whoever computed from an older one fires nothing.
    revision bigint not null default 1,
    check ((paused_at is null) = (paused_by is null))
);

-- The principal of a role without a request.
create function rolegate.role_principal(role_name text, role_oid oid) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    -- As job_principal() would for this role.
    wanted constant bytea := pg_catalog.sha256(pg_catalog.convert_to(
        pg_catalog.concat_ws('|', role_principal.role_oid, role_principal.role_name, ''), 'UTF8'));
    found_id bigint;
begin
    select p.id into found_id from rolegate.job_principal p where p.digest = wanted limit 1;
    if found_id is null then
        insert into rolegate.job_principal (digest, role_name, role_oid)
        values (wanted, role_principal.role_name, role_principal.role_oid)
        returning id into strict found_id;
    end if;
    return found_id;
end
$$;
revoke execute on function rolegate.role_principal(text, oid) from public;

-- True if it was not there. It runs as whoever calls this, or as a role he is a member of. A pause
-- stays; a new expression or time zone counts from now.
create function rolegate.set_cron(
    name text,
    expression text,
    kind text,
    args jsonb default '{}',
    queue text default 'default',
    time_zone text default 'UTC',
    priority integer default 2,
    max_attempts integer default 25,
    missed text default 'coalesce',
    only_one boolean default false,
    run_as text default null,
    source text default 'sql'
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    lane constant integer := rolegate.job_lane(kind, args, queue, priority, max_attempts);
    wrong constant text := case
        when name is null or name = '' or pg_catalog.length(name) > 200
            then 'name has 1 to 200 characters'
        when expression is null or expression = '' or pg_catalog.length(expression) > 200
            then 'expression has 1 to 200 characters'
        when time_zone is null or time_zone = '' or pg_catalog.length(time_zone) > 100
            then 'time_zone has 1 to 100 characters'
        when missed is null or missed not in ('coalesce', 'catch_up')
            then 'missed is coalesce or catch_up'
        when only_one is null then 'only_one is true or false'
        when source is null or source not in ('code', 'sql') then 'source is code or sql'
    end;
    principal bigint;
    declared_in text;
    made boolean;
begin
    if wrong is not null then
        raise exception using errcode = 'invalid_parameter_value', message = wrong;
    end if;
    select c.declared_in into declared_in from rolegate.job_cron c where c.name = set_cron.name;
    if declared_in is not null then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = pg_catalog.format('the cron entry %L is declared in %s', name, declared_in),
            hint = 'Change it there. To stop it meanwhile, pause it.';
    end if;
    principal := case
        when run_as is null then rolegate.job_principal()
        else rolegate.role_principal(run_as, rolegate.require_target(run_as))
    end;
    insert into rolegate.job_cron as c (
        name, expression, time_zone, kind, args, lane, max_attempts, principal, missed, only_one,
        source)
    values (
        set_cron.name, set_cron.expression, set_cron.time_zone, set_cron.kind, set_cron.args, lane,
        set_cron.max_attempts, principal, set_cron.missed, set_cron.only_one, set_cron.source)
    on conflict (name) do update
    set expression = excluded.expression, time_zone = excluded.time_zone, kind = excluded.kind,
        args = excluded.args, lane = excluded.lane, max_attempts = excluded.max_attempts,
        principal = excluded.principal, missed = excluded.missed, only_one = excluded.only_one,
        source = excluded.source, revision = c.revision + 1,
        since = case
            when (c.expression, c.time_zone) = (excluded.expression, excluded.time_zone) then c.since
            else excluded.since
        end,
        next_fire = case
            when (c.expression, c.time_zone) = (excluded.expression, excluded.time_zone)
                then c.next_fire
        end,
        problem = null
    -- A program that declares what is declared already changes nothing.
    where c.declared_in is null and (
        c.expression, c.time_zone, c.kind, c.args, c.lane, c.max_attempts, c.principal, c.missed,
        c.only_one, c.source
    ) is distinct from (
        excluded.expression, excluded.time_zone, excluded.kind, excluded.args, excluded.lane,
        excluded.max_attempts, excluded.principal, excluded.missed, excluded.only_one,
        excluded.source
    )
    returning c.revision = 1 into made;
    if made is null then
        return false;
    end if;
    perform rolegate.wake_promoter();
    return made;
end
$$;
revoke execute on function rolegate.set_cron(
    text, text, text, jsonb, text, text, integer, integer, text, boolean, text, text) from public;
grant execute on function rolegate.set_cron(
    text, text, text, jsonb, text, text, integer, integer, text, boolean, text, text)
    to rolegate_operator;

-- False if there was none. Jobs that it made stay.
create function rolegate.remove_cron(name text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    delete from rolegate.job_cron c where c.name = remove_cron.name;
    return found;
end
$$;
revoke execute on function rolegate.remove_cron(text) from public;
grant execute on function rolegate.remove_cron(text) to rolegate_operator;

create function rolegate.require_cron(name text) returns void
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    if not exists (select from rolegate.job_cron c where c.name = require_cron.name) then
        raise exception using
            errcode = 'undefined_object',
            message = pg_catalog.format('there is no cron entry %L', name);
    end if;
end
$$;
revoke execute on function rolegate.require_cron(text) from public;

-- Times that pass meanwhile fire never. False if it was paused already.
create function rolegate.pause_cron(name text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    perform rolegate.require_cron(name);
    update rolegate.job_cron c
    set paused_at = pg_catalog.clock_timestamp(), paused_by = rolegate.actor(), next_fire = null,
        revision = c.revision + 1
    where c.name = pause_cron.name and c.paused_at is null;
    return found;
end
$$;
revoke execute on function rolegate.pause_cron(text) from public;
grant execute on function rolegate.pause_cron(text) to rolegate_operator;

-- False if it was not paused.
create function rolegate.resume_cron(name text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    perform rolegate.require_cron(name);
    update rolegate.job_cron c
    set paused_at = null, paused_by = null, since = pg_catalog.clock_timestamp(),
        next_fire = null, revision = c.revision + 1
    where c.name = resume_cron.name and c.paused_at is not null;
    if not found then
        return false;
    end if;
    perform rolegate.wake_promoter();
    return true;
end
$$;
revoke execute on function rolegate.resume_cron(text) from public;
grant execute on function rolegate.resume_cron(text) to rolegate_operator;

create function rolegate.list_crons() returns table (
    name text, expression text, time_zone text, kind text, args jsonb, queue text,
    priority integer, max_attempts integer, runs_as text, missed text, only_one boolean,
    source text, paused_at timestamptz, paused_by text, last_fire timestamptz, last_job bigint,
    next_fire timestamptz, problem text, declared_in text
)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select
        c.name, c.expression, c.time_zone, c.kind, c.args, q.name, c.lane % 4 + 1,
        c.max_attempts::integer, p.role_name::text, c.missed, c.only_one, c.source, c.paused_at,
        c.paused_by, c.last_fire, c.last_job, c.next_fire, c.problem, c.declared_in
    from rolegate.job_cron c
    join rolegate.job_queue q on q.id = c.lane / 4
    join rolegate.job_principal p on p.id = c.principal
    order by c.name
$$;
revoke execute on function rolegate.list_crons() from public;
grant execute on function rolegate.list_crons() to rolegate_operator, rolegate_viewer;

-- The job of one time. NULL: it is to be the only one, and the one before has not ended. Called in a
-- transaction that has its number already: see the table of jobs.
create function rolegate.enqueue_cron(c rolegate.job_cron, fire_at timestamptz, manual boolean)
returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    made bigint;
    -- Bytes that no key of a producer has: text has no zero.
    key constant bytea := pg_catalog.sha256(
        '\x00'::bytea || pg_catalog.convert_to('cron ' || (c).name, 'UTF8'));
begin
    made := pg_catalog.nextval('rolegate.job_id');
    if (c).only_one then
        insert into rolegate.job_unique as u (key, root) values (key, made)
        on conflict (key) do update set root = excluded.root, held_until = null, ended = false
        where u.ended and u.held_until <= pg_catalog.clock_timestamp();
        if not found then
            return null;
        end if;
    end if;
    insert into rolegate.job (
        id, lane, segment, max_attempts, flags, kind, principal, args, options)
    values (
        made, (c).lane, rolegate.write_segment(), (c).max_attempts,
        case when (c).only_one then 1 else 0 end, (c).kind, (c).principal, (c).args,
        pg_catalog.jsonb_build_object('metadata', pg_catalog.jsonb_build_object(
            'cron', (c).name, 'manual', manual,
            'fire_time', pg_catalog.to_char(
                pg_catalog.timezone('UTC', fire_at), 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))));
    perform rolegate.wake((c).lane / 4);
    return made;
end
$$;
revoke execute on function rolegate.enqueue_cron(rolegate.job_cron, timestamptz, boolean) from public;

-- A job of it now, paused or not; its times stay as they are. NULL: see enqueue_cron().
create function rolegate.trigger_cron(name text) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    c rolegate.job_cron;
    made bigint;
begin
    perform rolegate.require_cron(name);
    perform pg_catalog.pg_current_xact_id();
    select * into c from rolegate.job_cron k where k.name = trigger_cron.name;
    made := rolegate.enqueue_cron(c, pg_catalog.clock_timestamp(), true);
    update rolegate.job_cron k set last_job = made
    where k.name = trigger_cron.name and made is not null;
    return made;
end
$$;
revoke execute on function rolegate.trigger_cron(text) from public;
grant execute on function rolegate.trigger_cron(text) to rolegate_operator;

-- Whose time has come, or whose next time has to be computed. Times after `after` count.
create function rolegate.due_crons() returns table (
    name text, revision bigint, expression text, time_zone text, missed text, after timestamptz,
    next_fire timestamptz, now timestamptz
)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select
        c.name, c.revision, c.expression, c.time_zone, c.missed, greatest(c.since, c.last_fire),
        c.next_fire, pg_catalog.clock_timestamp()
    from rolegate.job_cron c
    where c.paused_at is null and c.problem is null
        and (c.next_fire is null or c.next_fire <= pg_catalog.clock_timestamp())
    order by c.next_fire, c.name
$$;
revoke execute on function rolegate.due_crons() from public;
grant execute on function rolegate.due_crons() to rolegate_maintenance;

-- Enqueues the jobs of these times and notes when the next one comes, if nobody changed or fired it
-- since it was looked at: NULL if somebody did. Else how many jobs that were.
create function rolegate.fire_cron(
    name text, expected_revision bigint, fire_times timestamptz[], next_fire timestamptz
) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    c rolegate.job_cron;
    fire_at timestamptz;
    made bigint;
    last_made bigint;
    fired integer := 0;
begin
    if pg_catalog.cardinality(fire_times) > 1000 then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'at most 1000 times fire at once';
    end if;
    -- The second of two leaders waits here for the first, and finds another revision.
    update rolegate.job_cron k
    set next_fire = fire_cron.next_fire, revision = k.revision + 1,
        last_fire = greatest(
            k.last_fire, (select max(t) from pg_catalog.unnest(fire_times) t))
    where k.name = fire_cron.name and k.revision = expected_revision and k.paused_at is null
    returning * into c;
    if c.name is null then
        return null;
    end if;
    foreach fire_at in array fire_times loop
        made := rolegate.enqueue_cron(c, fire_at, false);
        if made is not null then
            fired := fired + 1;
            last_made := made;
        end if;
    end loop;
    if last_made is not null then
        update rolegate.job_cron k set last_job = last_made where k.name = c.name;
    end if;
    return fired;
end
$$;
revoke execute on function rolegate.fire_cron(text, bigint, timestamptz[], timestamptz) from public;
grant execute on function rolegate.fire_cron(text, bigint, timestamptz[], timestamptz)
    to rolegate_maintenance;

-- It can't be fired, and why. It is not looked at again before somebody sets it.
create function rolegate.reject_cron(name text, expected_revision bigint, problem text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    update rolegate.job_cron c
    set problem = pg_catalog.left(reject_cron.problem, 1000), next_fire = null,
        revision = c.revision + 1
    where c.name = reject_cron.name and c.revision = expected_revision;
    return found;
end
$$;
revoke execute on function rolegate.reject_cron(text, bigint, text) from public;
grant execute on function rolegate.reject_cron(text, bigint, text) to rolegate_maintenance;
