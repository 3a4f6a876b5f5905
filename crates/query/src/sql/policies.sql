-- What decides which rows of relations with row-level security are seen. $1: OIDs.
select pg_catalog.pg_get_expr(p.polqual, p.polrelid)
from pg_catalog.pg_policy p
join pg_catalog.pg_class c on c.oid = p.polrelid
where p.polrelid = any ($1::oid[])
    and c.relrowsecurity
    and p.polcmd in ('r', '*')
    and p.polqual is not null
