-- What is known of the relations a statement has locked, and of all that are parts of them: planning does not lock
-- partitions that it has ruled out, and rules them out by parameters that are NULL. $1: their OIDs; $2: our
-- publication; $3: who reads.
-- pg_publication_tables would lock every table that is published, and wait for whoever has locked one.
with recursive reached (oid) as (
    select given.oid from pg_catalog.unnest($1::oid[]) given (oid)
    union
    select i.inhrelid from reached r join pg_catalog.pg_inherits i on i.inhparent = r.oid
)
select
    c.oid,
    n.nspname,
    c.relname,
    c.relkind::text,
    c.relrowsecurity,
    c.oid < 16384,
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
    ),
    case when c.relkind in ('v', 'm') then pg_catalog.pg_get_viewdef(c.oid) end,
    comparable.names,
    comparable.types,
    pg_catalog.has_schema_privilege($3::oid, n.oid, 'USAGE')
        and pg_catalog.has_any_column_privilege($3::oid, c.oid, 'SELECT')
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join lateral (
    select
        coalesce(pg_catalog.array_agg(a.attname::text order by a.attnum), '{}') as names,
        coalesce(pg_catalog.array_agg(a.atttypid order by a.attnum), '{}') as types
    from pg_catalog.pg_attribute a
    left join pg_catalog.pg_collation l on l.oid = a.attcollation
    where c.relkind = 'r'
        and a.attrelid = c.oid
        and a.attnum > 0
        and not a.attisdropped
        -- bool, int8, int2, int4, text, varchar, date, uuid
        and a.atttypid = any (array[16, 20, 21, 23, 25, 1043, 1082, 2950]::oid[])
        and coalesce(l.collisdeterministic, true)
) comparable
where c.oid in (select r.oid from reached r)
    and c.relkind not in ('i', 'I', 't')
order by n.nspname, c.relname
