-- Cron entries that a configuration file or a program declares: a list, applied as a whole. What is not in
-- the list any more is removed; entries of other lists, and those made by hand, are never touched.

-- As whom declared entries may run. Whoever applies a list is a login without a right of its own to any role,
-- so somebody who could mint a token for the role has to have said so.
create table rolegate.job_cron_role (
    role_oid oid primary key,
    role_name name not null,
    allowed_by text not null,
    allowed_at timestamptz not null default pg_catalog.clock_timestamp()
);

-- False if it was allowed already.
create function rolegate.allow_declared_cron(role_name text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    target constant oid := rolegate.require_target(allow_declared_cron.role_name);
begin
    -- Of a role of that name that is gone.
    delete from rolegate.job_cron_role a
    where a.role_name = allow_declared_cron.role_name and a.role_oid <> target;
    insert into rolegate.job_cron_role (role_oid, role_name, allowed_by)
    values (target, allow_declared_cron.role_name, rolegate.actor())
    on conflict (role_oid) do nothing;
    return found;
end
$$;
revoke execute on function rolegate.allow_declared_cron(text) from public;
grant execute on function rolegate.allow_declared_cron(text) to rolegate_operator;

-- Declared entries that run as it fire no more. False if it was not allowed. Taking it back needs no
-- membership.
create function rolegate.forbid_declared_cron(role_name text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    allowed boolean;
begin
    delete from rolegate.job_cron_role a where a.role_name = forbid_declared_cron.role_name;
    allowed := found;
    perform from rolegate.job_cron c
    where c.declared_in is not null order by c.name for update;
    update rolegate.job_cron c
    set problem = pg_catalog.format('declared entries may not run as %I', forbid_declared_cron.role_name),
        next_fire = null, revision = c.revision + 1
    from rolegate.job_principal p
    where p.id = c.principal and p.role_name = forbid_declared_cron.role_name
        and c.declared_in is not null and c.problem is null;
    return allowed;
end
$$;
revoke execute on function rolegate.forbid_declared_cron(text) from public;
grant execute on function rolegate.forbid_declared_cron(text) to rolegate_operator;

-- Roles as which declared entries may run, and who said so.
create function rolegate.declared_cron_roles() returns table (
    role_name text, allowed_by text, allowed_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select a.role_name::text, a.allowed_by, a.allowed_at
    from rolegate.job_cron_role a order by a.role_name
$$;
revoke execute on function rolegate.declared_cron_roles() from public;
grant execute on function rolegate.declared_cron_roles() to rolegate_operator, rolegate_viewer;

-- The principal of a role that is still the one that was allowed.
create function rolegate.declared_cron_principal(run_as text) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    target oid;
    forbidden text;
begin
    if run_as is null then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'run_as is the role its jobs run as';
    end if;
    select r.oid into target
    from rolegate.job_cron_role a
    join pg_catalog.pg_roles r on r.oid = a.role_oid and r.rolname = a.role_name
    where a.role_name = run_as;
    if target is null then
        raise exception using
            errcode = 'insufficient_privilege',
            message = pg_catalog.format('declared entries may not run as %I', run_as),
            hint = pg_catalog.format(
                'An operator who is a member of the role allows it: rolegate cron allow %I', run_as);
    end if;
    select f.chain into forbidden from rolegate.forbidden_roles(target) f;
    if forbidden is not null then
        raise exception using
            errcode = 'insufficient_privilege',
            message = pg_catalog.format('role %I is too powerful to be used here', run_as),
            detail = forbidden;
    end if;
    if not pg_catalog.pg_has_role(target, 'rolegate_admitted', 'MEMBER') then
        raise exception using
            errcode = 'insufficient_privilege',
            message = pg_catalog.format('role %I has not been admitted', run_as),
            hint = pg_catalog.format('The command "roles admit %I" makes it usable.', run_as);
    end if;
    return rolegate.role_principal(run_as, target);
end
$$;
revoke execute on function rolegate.declared_cron_principal(text) from public;

-- One entry of a list: 'made', 'changed', or 'same'. A pause stays; a new expression or time zone counts from
-- now, and so does an entry whose problem is gone.
create function rolegate.declare_cron(list text, entry jsonb) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    strange text;
    holder text;
    before rolegate.job_cron;
    declared rolegate.job_cron;
begin
    select k into strange from pg_catalog.jsonb_object_keys(entry) k
    where k <> all (array[
        'name', 'expression', 'time_zone', 'kind', 'args', 'queue', 'priority', 'max_attempts', 'missed',
        'only_one', 'run_as'])
    limit 1;
    if strange is not null then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = pg_catalog.format('an entry has no %L', strange);
    end if;
    declared.name := entry ->> 'name';
    declared.expression := coalesce(entry ->> 'expression', '');
    declared.time_zone := coalesce(entry ->> 'time_zone', 'UTC');
    declared.kind := entry ->> 'kind';
    declared.args := coalesce(entry -> 'args', '{}');
    declared.max_attempts := coalesce((entry ->> 'max_attempts')::integer, 25);
    declared.missed := coalesce(entry ->> 'missed', 'coalesce');
    declared.only_one := coalesce((entry ->> 'only_one')::boolean, false);
    declared.lane := rolegate.job_lane(
        declared.kind, declared.args, coalesce(entry ->> 'queue', 'default'),
        coalesce((entry ->> 'priority')::integer, 2), declared.max_attempts);
    if declared.missed not in ('coalesce', 'catch_up') then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'missed is coalesce or catch_up';
    end if;
    declared.principal := rolegate.declared_cron_principal(entry ->> 'run_as');

    select * into before from rolegate.job_cron c where c.name = declared.name for update;
    if before.name is not null and before.declared_in is distinct from list then
        holder := coalesce('declared in ' || before.declared_in, 'made by hand');
        raise exception using
            errcode = 'duplicate_object',
            message = pg_catalog.format('there is an entry %L that is %s', declared.name, holder),
            hint = 'Give one of them another name, or remove that one: rolegate cron remove.';
    end if;
    if before.name is null then
        insert into rolegate.job_cron (
            name, expression, time_zone, kind, args, lane, max_attempts, principal, missed, only_one,
            source, declared_in)
        values (
            declared.name, declared.expression, declared.time_zone, declared.kind, declared.args,
            declared.lane, declared.max_attempts, declared.principal, declared.missed,
            declared.only_one, 'code', list);
        return 'made';
    end if;
    if before.problem is null and (
        before.expression, before.time_zone, before.kind, before.args, before.lane, before.max_attempts,
        before.principal, before.missed, before.only_one
    ) = (
        declared.expression, declared.time_zone, declared.kind, declared.args, declared.lane,
        declared.max_attempts, declared.principal, declared.missed, declared.only_one
    ) then
        return 'same';
    end if;
    update rolegate.job_cron c
    set expression = declared.expression, time_zone = declared.time_zone, kind = declared.kind,
        args = declared.args, lane = declared.lane, max_attempts = declared.max_attempts,
        principal = declared.principal, missed = declared.missed, only_one = declared.only_one,
        since = case
            when c.problem is null
                and (c.expression, c.time_zone) = (declared.expression, declared.time_zone) then c.since
            else pg_catalog.clock_timestamp()
        end,
        next_fire = null, problem = null, revision = c.revision + 1
    where c.name = declared.name;
    return 'changed';
end
$$;
revoke execute on function rolegate.declare_cron(text, jsonb) from public;

-- Makes the entries of this list what `entries` says, and tells what became of each: 'made', 'changed', 'same',
-- 'removed', or 'refused' with the problem. One that is refused keeps no other from being applied, and if it
-- was there before it fires no more. Lists of the same name of two logins are two lists.
create function rolegate.declare_crons(list text, entries jsonb)
returns table (name text, outcome text, problem text, hint text)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    whose constant text := pg_catalog.format('%s (%s)', list, rolegate.actor());
    e record;
    altered boolean := false;
begin
    if (pg_catalog.length(list) between 1 and 200) is not true then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'a list of entries has a name of 1 to 200 characters';
    end if;
    if pg_catalog.jsonb_typeof(entries) is distinct from 'array'
        or pg_catalog.jsonb_array_length(entries) > 1000
        or exists (
            select from pg_catalog.jsonb_array_elements(entries) x (said)
            where pg_catalog.jsonb_typeof(x.said) <> 'object' or x.said ->> 'name' is null)
    then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'entries are an array of at most 1000 objects, each with a name';
    end if;
    if exists (
        select from pg_catalog.jsonb_array_elements(entries) x (said)
        group by x.said ->> 'name' having pg_catalog.count(*) > 1)
    then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'two entries have one name';
    end if;
    -- In one order, because others declare the same at the same time.
    perform from rolegate.job_cron c
    where c.declared_in = whose
        or c.name in (select x.said ->> 'name' from pg_catalog.jsonb_array_elements(entries) x (said))
    order by c.name
    for update;
    for e in
        select x.said, x.said ->> 'name' as name
        from pg_catalog.jsonb_array_elements(entries) x (said)
        order by 2
    loop
        name := e.name;
        problem := null;
        hint := null;
        begin
            outcome := rolegate.declare_cron(whose, e.said);
        exception
            when data_exception or integrity_constraint_violation or undefined_object
                or insufficient_privilege or duplicate_object
            then
                get stacked diagnostics problem = message_text, hint = pg_exception_hint;
                outcome := 'refused';
                hint := nullif(hint, '');
                update rolegate.job_cron c
                set problem = pg_catalog.left(declare_crons.problem, 1000), next_fire = null,
                    revision = c.revision + 1
                where c.name = e.name and c.declared_in = whose
                    and c.problem is distinct from pg_catalog.left(declare_crons.problem, 1000);
        end;
        altered := altered or outcome in ('made', 'changed');
        return next;
    end loop;
    for e in
        delete from rolegate.job_cron c
        where c.declared_in = whose
            and c.name not in (
                select x.said ->> 'name' from pg_catalog.jsonb_array_elements(entries) x (said))
        returning c.name
    loop
        name := e.name;
        outcome := 'removed';
        problem := null;
        hint := null;
        return next;
    end loop;
    if altered then
        perform rolegate.wake_promoter();
    end if;
end
$$;
revoke execute on function rolegate.declare_crons(text, jsonb) from public;
grant execute on function rolegate.declare_crons(text, jsonb)
    to rolegate_maintenance, rolegate_worker, rolegate_operator;
