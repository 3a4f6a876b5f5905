-- What the functions of these names are. $1: names in front of a parenthesis; $2: names behind a point,
-- where only a function of one row can be meant.
select
    n.nspname,
    p.proname,
    p.oid < 16384 and n.nspname = 'pg_catalog',
    p.provolatile::text,
    p.prokind::text,
    p.oid
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.proname = any ($1::text[])
    or (p.proname = any ($2::text[])
        and p.oid >= 16384
        and p.pronargs - p.pronargdefaults <= 1
        and p.pronargs >= 1
        and exists (
            select from pg_catalog.pg_type t
            where t.oid = p.proargtypes[0]
                and (t.typtype in ('c', 'p') or t.typbasetype <> 0)
        ))
