-- By what right a role reads relations, as JSON, and what another one lacks to read them. $1: their OIDs; $2: the role;
-- $3: the other one, or NULL.
select
    c.oid,
    pg_catalog.json_build_object(
        'relation', pg_catalog.concat(n.nspname, '.', c.relname),
        'granted_to', array(
            select distinct given.grantee
            from pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) a
            cross join lateral (
                select case a.grantee when 0 then 'PUBLIC' else pg_catalog.pg_get_userbyid(a.grantee)::text end
            ) given (grantee)
            where a.privilege_type = 'SELECT' and (a.grantee = 0 or pg_catalog.pg_has_role($2::oid, a.grantee, 'USAGE'))
            order by given.grantee
        ),
        'columns_granted_to', array(
            select distinct given.grantee
            from pg_catalog.pg_attribute t
            cross join lateral pg_catalog.aclexplode(t.attacl) a
            cross join lateral (
                select case a.grantee when 0 then 'PUBLIC' else pg_catalog.pg_get_userbyid(a.grantee)::text end
            ) given (grantee)
            where t.attrelid = c.oid and t.attnum > 0 and not t.attisdropped
                and a.privilege_type = 'SELECT' and (a.grantee = 0 or pg_catalog.pg_has_role($2::oid, a.grantee, 'USAGE'))
            order by given.grantee
        ),
        'policies', case
            when c.relrowsecurity and not r.rolsuper and not r.rolbypassrls
                and (c.relforcerowsecurity or not pg_catalog.pg_has_role($2::oid, c.relowner, 'USAGE'))
            then array(
                select p.polname::text
                from pg_catalog.pg_policy p
                where p.polrelid = c.oid
                    and p.polcmd in ('r', '*')
                    and exists (
                        select from pg_catalog.unnest(p.polroles) named (oid)
                        where named.oid = 0 or pg_catalog.pg_has_role($2::oid, named.oid, 'USAGE')
                    )
                order by p.polname
            )
        end
    ),
    case
        when $3::oid is null then null
        when not pg_catalog.has_schema_privilege($3::oid, n.oid, 'USAGE')
            then pg_catalog.concat('USAGE on schema ', n.nspname)
        when not pg_catalog.has_any_column_privilege($3::oid, c.oid, 'SELECT') then 'SELECT'
        when not pg_catalog.has_table_privilege($3::oid, c.oid, 'SELECT') then 'SELECT on all of its columns'
    end
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_roles r on r.oid = $2::oid
where c.oid = any ($1::oid[])
order by n.nspname, c.relname
