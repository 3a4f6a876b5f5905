-- The tables that hold the rows of partitioned ones, all of them: a plan that was made without the values of
-- parameters knows of some only. `oid, name, published`. $1: OIDs of the partitioned ones; $2: our publication.
with recursive part (oid) as (
    select h.inhrelid from pg_catalog.pg_inherits h where h.inhparent = any ($1::oid[])
    union
    select h.inhrelid from part p join pg_catalog.pg_inherits h on h.inhparent = p.oid
)
select
    c.oid,
    pg_catalog.concat(n.nspname, '.', c.relname),
    exists (
        select from pg_catalog.pg_publication_tables t
        where t.pubname = $2 and t.schemaname = n.nspname and t.tablename = c.relname)
from part p
join pg_catalog.pg_class c on c.oid = p.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind <> 'p'
