-- The tables that hold the rows of partitioned ones, all of them: a plan that was made without the values of
-- parameters knows of some only. `oid, name, published`. $1: OIDs of the partitioned ones; $2: our publication.
-- pg_publication_tables would lock every table that is published, and wait for whoever has locked one.
with recursive part (oid) as (
    select h.inhrelid from pg_catalog.pg_inherits h where h.inhparent = any ($1::oid[])
    union
    select h.inhrelid from part p join pg_catalog.pg_inherits h on h.inhparent = p.oid
)
select
    c.oid,
    pg_catalog.concat(n.nspname, '.', c.relname),
    exists (
        select from pg_catalog.pg_publication b
        where b.pubname = $2
            and c.relkind = 'r'
            and c.relpersistence = 'p'
            -- Told as rows of the whole then.
            and not (b.pubviaroot and c.relispartition)
            and (
                b.puballtables
                or exists (
                    select from pg_catalog.pg_publication_namespace s where s.pnpubid = b.oid and s.pnnspid = n.oid
                )
                or exists (
                    select from pg_catalog.pg_publication_rel r
                    where r.prpubid = b.oid
                        and (r.prrelid = c.oid or r.prrelid in (
                            select a.relid from pg_catalog.pg_partition_ancestors(c.oid) a (relid)))
                )
            )
    )
from part p
join pg_catalog.pg_class c on c.oid = p.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind <> 'p'
