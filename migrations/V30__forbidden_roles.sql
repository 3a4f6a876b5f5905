-- Which roles may never be a target, by what can be reached and not by every path to it: where
-- memberships lie over each other in layers, there are more paths than anybody can count.

-- Every role that must never be a target, with the shortest membership chain that makes it so.
-- Memberships count whatever their options: ADMIN alone is enough to grant oneself the rest.
-- `crates/roles/src/sql/closure.sql` is the same query for a database without this schema;
-- a test compares the two.
create or replace function rolegate.forbidden_roles(
    only_role oid default null,
    allowed_predefined text[] default '{}'
) returns table (role_oid oid, role_name text, chain text)
language sql stable parallel restricted security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    with recursive
    membership as materialized (
        -- Since 16 the same membership can be granted by several grantors.
        select distinct m.member, m.roleid from pg_catalog.pg_auth_members m
    ),
    -- The roles that are asked about and everything they are members of, each once.
    above (role_oid) as (
        select r.oid from pg_catalog.pg_roles r
        where only_role is null or r.oid = only_role
        union
        select m.roleid from above a join membership m on m.member = a.role_oid
    ),
    judged as (
        select r.oid as role_oid, r.rolname::pg_catalog.text as role_name,
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
        from above a
        join pg_catalog.pg_roles r on r.oid = a.role_oid
    ),
    -- From the forbidden roles down to their members, one step of all of them at a time, and of the
    -- chains to one role the first by name. There can be more paths than anybody can count.
    chained (role_oid, steps, names, reason) as (
        select j.role_oid, 1::pg_catalog.int8, j.role_name, j.reason
        from judged j
        where j.reason is not null
        union all
        select s.role_oid, s.steps, s.names, s.reason
        from (
            select j.role_oid, c.steps + 1 as steps, j.role_name || ' -> ' || c.names as names,
                c.reason, pg_catalog.row_number() over (partition by j.role_oid order by c.names) as place
            from chained c
            join membership m on m.roleid = c.role_oid
            join judged j on j.role_oid = m.member
            -- PostgreSQL allows no circle; a catalog that has one must not hold us.
            where c.steps < (select pg_catalog.count(*) from above)
        ) s
        where s.place = 1
    )
    select distinct on (c.role_oid)
        c.role_oid, j.role_name, c.names || ' (' || c.reason || ')' as chain
    from chained c
    join judged j on j.role_oid = c.role_oid
    where only_role is null or c.role_oid = only_role
    order by c.role_oid, c.steps, c.names
$$;
