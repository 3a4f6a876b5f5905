-- Who may see the schema, who the actor is, and which roles may never be a target.
-- The schema itself is made by the step before this one: the history table lives in it.

-- Nothing in the schema is reachable by USAGE alone. PUBLIC has it because policies and
-- functions of any role may name claims() and claim(text).
grant usage on schema rolegate to public;

-- The role a definer function works for. `current_user` would be the owner of that function;
-- `session_user` alone would be the shared login of the assume mode.
create function rolegate.actor() returns name
language sql stable parallel restricted security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select coalesce(
        nullif(pg_catalog.current_setting('role'), 'none')::pg_catalog.name, session_user)
$$;
revoke execute on function rolegate.actor() from public;

-- Every role that must never be a target, with the membership chain that makes it so.
-- Memberships count whatever their options: ADMIN alone is enough to grant oneself the rest.
-- `crates/roles/src/sql/closure.sql` is the same query for a database without this schema;
-- a test compares the two.
create function rolegate.forbidden_roles(
    only_role oid default null,
    allowed_predefined text[] default '{}'
) returns table (role_oid oid, role_name text, chain text)
language sql stable parallel restricted security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    with recursive
    membership as (
        -- Since 16 the same membership can be granted by several grantors.
        select distinct m.member, m.roleid from pg_catalog.pg_auth_members m
    ),
    reached (start_oid, role_oid, path, names) as (
        select r.oid, r.oid, array[r.oid], r.rolname::pg_catalog.text
        from pg_catalog.pg_roles r
        where only_role is null or r.oid = only_role
        union all
        select w.start_oid, m.roleid, w.path || m.roleid, w.names || ' -> ' || r.rolname
        from reached w
        join membership m on m.member = w.role_oid
        join pg_catalog.pg_roles r on r.oid = m.roleid
        where m.roleid <> all (w.path)
    ),
    judged as (
        select w.start_oid, w.names, pg_catalog.cardinality(w.path) as steps,
            case
                when r.rolsuper then 'superuser'
                when r.rolbypassrls then 'bypasses row-level security'
                when r.rolcreaterole then 'creates roles'
                when r.rolreplication then 'replication'
                when r.oid = (
                    select d.datdba from pg_catalog.pg_database d
                    where d.datname = pg_catalog.current_database()
                ) then 'owns the database'
                when pg_catalog.starts_with(r.rolname, 'pg_')
                    and r.rolname <> all (allowed_predefined) then 'predefined role'
                when pg_catalog.starts_with(r.rolname, 'rolegate_')
                    and r.rolname <> all (array[
                        'rolegate_operator', 'rolegate_viewer', 'rolegate_producer',
                        'rolegate_requester', 'rolegate_on_behalf', 'rolegate_admitted'
                    ]) then 'engine role'
            end as reason
        from reached w
        join pg_catalog.pg_roles r on r.oid = w.role_oid
    )
    select distinct on (j.start_oid)
        j.start_oid, s.rolname::pg_catalog.text, j.names || ' (' || j.reason || ')'
    from judged j
    join pg_catalog.pg_roles s on s.oid = j.start_oid
    where j.reason is not null
    order by j.start_oid, j.steps, j.names
$$;
revoke execute on function rolegate.forbidden_roles(oid, text[]) from public;
grant execute on function rolegate.forbidden_roles(oid, text[])
    to rolegate_gateway, rolegate_operator, rolegate_viewer;

-- The OID of a role that the actor may hand out, or an error that says why not.
create function rolegate.require_target(target_role text) returns oid
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    target oid;
    forbidden text;
begin
    select r.oid into target from pg_catalog.pg_roles r where r.rolname = target_role;
    -- A name PostgreSQL reads as something else is refused even if a role of it could exist.
    if target is null
        or pg_catalog.lower(target_role)
            in ('none', 'public', 'null', 'default', 'all', 'current_user', 'session_user', 'current_role')
    then
        raise exception using
            errcode = 'undefined_object',
            message = pg_catalog.format('role %I does not exist', target_role);
    end if;

    select f.chain into forbidden from rolegate.forbidden_roles(target) f;
    if forbidden is not null then
        raise exception using
            errcode = 'insufficient_privilege',
            message = pg_catalog.format('role %I is too powerful to be used here', target_role),
            detail = forbidden;
    end if;

    if not pg_catalog.pg_has_role(rolegate.actor(), target, 'MEMBER') then
        raise exception using
            errcode = 'insufficient_privilege',
            message = pg_catalog.format('%I is not a member of role %I', rolegate.actor(), target_role);
    end if;

    if not pg_catalog.pg_has_role(target, 'rolegate_admitted', 'MEMBER') then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = pg_catalog.format('role %I has not been admitted', target_role),
            hint = pg_catalog.format('The command "roles admit %I" makes it usable.', target_role);
    end if;
    return target;
end
$$;
revoke execute on function rolegate.require_target(text) from public;
