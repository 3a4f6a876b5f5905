-- Tables of the exposed schemas, and whatever else is published: what it is called, why it can't be published,
-- whether it is, and whether it should be looked at.
select
    pg_catalog.format('%I.%I', n.nspname, c.relname) as name,
    rolegate.unpublishable(c.oid) as reason,
    p.oid is not null as published,
    n.nspname = any ($2::pg_catalog.text[]) as exposed
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_publication b on b.pubname = $1::pg_catalog.text
left join pg_catalog.pg_publication_rel p on p.prpubid = b.oid and p.prrelid = c.oid
where p.oid is not null or (n.nspname = any ($2::pg_catalog.text[]) and c.relkind in ('r', 'f', 'm'))
order by 1
