-- What is known of the relations a statement has locked. $1: their OIDs; $2: our publication.
select
    c.oid,
    n.nspname,
    c.relname,
    c.relkind::text,
    c.relrowsecurity,
    c.oid < 16384,
    exists (
        select from pg_catalog.pg_publication_tables t
        where t.pubname = $2 and t.schemaname = n.nspname and t.tablename = c.relname
    ),
    case when c.relkind in ('v', 'm') then pg_catalog.pg_get_viewdef(c.oid) end
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = any ($1::oid[])
    and c.relkind not in ('i', 'I', 't')
order by n.nspname, c.relname
