-- Every role that must never be a target, with the membership chain that makes it so.
-- $1: only this role's OID, or NULL for all. $2: predefined roles (`pg_...`) that are accepted.
-- Memberships count whatever their options: ADMIN alone is enough to grant oneself the rest.
-- `rolegate.forbidden_roles` in the migrations is the same query.
with recursive
membership as materialized (
    -- Since 16 the same membership can be granted by several grantors.
    select distinct m.member, m.roleid from pg_catalog.pg_auth_members m
),
-- The roles that are asked about and everything they are members of, each once.
above (role_oid) as (
    select r.oid from pg_catalog.pg_roles r
    where $1::pg_catalog.oid is null or r.oid = $1
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
                and r.rolname <> all ($2::pg_catalog.text[]) then 'predefined role'
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
where $1::pg_catalog.oid is null or c.role_oid = $1
order by c.role_oid, c.steps, c.names
