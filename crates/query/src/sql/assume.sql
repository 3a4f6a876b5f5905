-- What runs code of users without being a function that is called by name: operators of these names ($1),
-- types of these names ($2) with a constraint or a cast. Code in C is the server's own.
select 'the operator ' || o.oprname
from pg_catalog.pg_operator o
join pg_catalog.pg_proc p on p.oid = o.oprcode
join pg_catalog.pg_language l on l.oid = p.prolang
where o.oid >= 16384
    and o.oprname = any ($1::text[])
    and l.lanname not in ('c', 'internal')
union all
select 'the type ' || t.typname
from pg_catalog.pg_type t
where t.oid >= 16384
    and t.typname = any ($2::text[])
    and (
        exists (select from pg_catalog.pg_constraint c where c.contypid = t.oid)
        or exists (
            select from pg_catalog.pg_cast c
            join pg_catalog.pg_proc p on p.oid = c.castfunc
            join pg_catalog.pg_language l on l.oid = p.prolang
            where t.oid in (c.castsource, c.casttarget)
                and c.oid >= 16384
                and l.lanname not in ('c', 'internal')
        )
    )
limit 1
