-- Stands before the queries about grants. $1: the role's OID. Every grantee whose privileges it
-- has without switching, and how it comes to them.
with recursive
edge (member, roleid) as (
    select m.member, m.roleid
    from pg_catalog.pg_auth_members m join pg_catalog.pg_roles r on r.oid = m.member
    -- Before 16, whether a membership is inherited is a property of the member.
    where coalesce(
        (pg_catalog.to_jsonb(m) ->> 'inherit_option')::pg_catalog.bool, r.rolinherit)
    union
    -- The one membership that is in no table.
    select d.datdba, r.oid
    from pg_catalog.pg_database d
    join pg_catalog.pg_roles r on r.rolname = 'pg_database_owner'
    where d.datname = pg_catalog.current_database()
),
inherits (oid, path, chain) as (
    select r.oid, array[r.oid], array['role ' || pg_catalog.quote_ident(r.rolname)]
    from pg_catalog.pg_roles r where r.oid = $1::pg_catalog.oid
    union all
    select e.roleid, i.path || e.roleid,
        i.chain || ('member of ' || pg_catalog.quote_ident(r.rolname))
    from inherits i
    join edge e on e.member = i.oid
    join pg_catalog.pg_roles r on r.oid = e.roleid
    where e.roleid <> all (i.path)
),
way (oid, chain, steps) as (
    select 0::pg_catalog.oid, array['PUBLIC'], 0
    union all
    select i.oid, i.chain, pg_catalog.cardinality(i.chain) from inherits i
),
-- Roles of the server that have privileges without a grant.
predefined (privilege, chain, steps) as (
    select p.privilege, w.chain, w.steps
    from way w
    join pg_catalog.pg_roles r on r.oid = w.oid
    join (values
        ('pg_read_all_data', 'SELECT'), ('pg_read_all_data', 'USAGE'),
        ('pg_write_all_data', 'INSERT'), ('pg_write_all_data', 'UPDATE'),
        ('pg_write_all_data', 'DELETE'), ('pg_write_all_data', 'USAGE')) p (role, privilege)
        on p.role = r.rolname
)
