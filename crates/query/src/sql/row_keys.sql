-- Names of tables, and the columns of their primary keys. $1: OIDs; what is a partition of another one of
-- them is left out.
select
    c.relname::text,
    array(
        select a.attname::text
        from pg_catalog.pg_index i
        cross join lateral pg_catalog.unnest(i.indkey::int2[]) with ordinality k (attnum, place)
        join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
        where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts
        order by k.place
    )
from pg_catalog.pg_class c
where c.oid = any ($1::oid[])
    and c.relkind in ('r', 'p', 'f', 'm')
    and not exists (
        select from pg_catalog.pg_inherits h
        where h.inhrelid = c.oid and h.inhparent = any ($1::oid[]))
