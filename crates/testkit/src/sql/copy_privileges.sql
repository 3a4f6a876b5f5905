-- Cloning a database does not copy what is granted on it. Returns the statements that give the
-- database $2 the privileges of the database $1.
select pg_catalog.format('revoke all on database %I from public', $2::text)
union all
select pg_catalog.format(
    'grant %s on database %I to %s',
    a.privilege_type,
    $2::text,
    case when a.grantee = 0 then 'public' else pg_catalog.quote_ident(r.rolname) end
)
from pg_catalog.pg_database d
cross join lateral pg_catalog.aclexplode(
    coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))
) a
left join pg_catalog.pg_roles r on r.oid = a.grantee
where d.datname = $1::text and a.grantee <> d.datdba
