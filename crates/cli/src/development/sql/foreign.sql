-- What is in this cluster and database that did not come with the server, counted by kind.
-- $1: OIDs of roles, $2: OIDs of schemas that do not count. $3: the database in question, which is
-- not the one connected to if it does not exist yet.
select 'databases' as kind, pg_catalog.count(*) as number,
    coalesce(pg_catalog.string_agg(d.datname, ', ' order by d.datname), '') as names
from pg_catalog.pg_database d
where not d.datistemplate and d.datname not in ('postgres', $3::pg_catalog.text)
union all
select 'roles', pg_catalog.count(*), coalesce(pg_catalog.string_agg(r.rolname, ', ' order by r.rolname), '')
from pg_catalog.pg_roles r
where r.oid >= 16384 and r.oid <> all ($1::pg_catalog.oid[]) and r.rolname <> current_user
union all
select 'schemas', pg_catalog.count(*), coalesce(pg_catalog.string_agg(n.nspname, ', ' order by n.nspname), '')
from pg_catalog.pg_namespace n
where n.oid >= 16384 and n.oid <> all ($2::pg_catalog.oid[])
    and not pg_catalog.starts_with(n.nspname, 'pg_temp_')
    and not pg_catalog.starts_with(n.nspname, 'pg_toast_temp_')
    and pg_catalog.current_database() = $3
union all
select 'tables and views in public', pg_catalog.count(*),
    coalesce(pg_catalog.string_agg(c.relname, ', ' order by c.relname), '')
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind in ('r', 'p', 'v', 'm', 'f')
    and pg_catalog.current_database() = $3
union all
select 'functions in public', pg_catalog.count(*),
    coalesce(pg_catalog.string_agg(distinct p.proname, ', '), '')
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where n.nspname = 'public' and pg_catalog.current_database() = $3
