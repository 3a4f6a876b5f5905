-- Every role that must never be a target, with the membership chain that makes it so.
-- $1: only this role's OID, or NULL for all. $2: predefined roles (`pg_...`) that are accepted.
-- Memberships count whatever their options: ADMIN alone is enough to grant oneself the rest.
-- `rolegate.forbidden_roles` in the migrations is the same query.
with recursive
membership as (
    -- Since 16 the same membership can be granted by several grantors.
    select distinct m.member, m.roleid from pg_catalog.pg_auth_members m
),
reached (start_oid, role_oid, path, names) as (
    select r.oid, r.oid, array[r.oid], r.rolname::pg_catalog.text
    from pg_catalog.pg_roles r
    where $1::pg_catalog.oid is null or r.oid = $1
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
                and r.rolname <> all ($2::pg_catalog.text[]) then 'predefined role'
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
    j.start_oid as role_oid, s.rolname::pg_catalog.text as role_name,
    j.names || ' (' || j.reason || ')' as chain
from judged j
join pg_catalog.pg_roles s on s.oid = j.start_oid
where j.reason is not null
order by j.start_oid, j.steps, j.names
