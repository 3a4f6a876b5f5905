-- Functions of the exposed schemas that a role may execute, by the database's own verdict.
select p.oid
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where n.nspname = any ($1::text[])
    and pg_catalog.has_schema_privilege($2::pg_catalog.oid, n.oid, 'USAGE')
    and pg_catalog.has_function_privilege($2::pg_catalog.oid, p.oid, 'EXECUTE')
