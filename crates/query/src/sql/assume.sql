-- What runs code of users without being a function that is called by name: operators of these names ($1), and
-- types. A name of $2 counts if it is that of a type of its own; one of $3 also if it is that of a table's rows,
-- since it stands where a type can. A type runs code if it is a domain with a constraint, has a cast of users, or
-- is a range; so does whatever contains or extends such a one. Code in C is the server's own, but what of it has an effect or
-- reads can be given to an operator by everybody.
with recursive named as (
    select t.oid
    from pg_catalog.pg_type t
    left join pg_catalog.pg_class c on c.oid = t.typrelid
    where t.oid >= 16384
        and (
            t.typname = any ($3::text[])
            or (t.typname = any ($2::text[]) and coalesce(c.relkind, 'c') = 'c')
        )
    union
    select inner_type.oid
    from named
    join pg_catalog.pg_type t on t.oid = named.oid
    cross join lateral (
        select t.typelem
        union all
        select t.typbasetype
        union all
        select a.atttypid
        from pg_catalog.pg_attribute a
        where a.attrelid = t.typrelid and t.typrelid <> 0 and a.attnum > 0 and not a.attisdropped
    ) inner_type (oid)
    where inner_type.oid >= 16384
)
select 'the operator ' || o.oprname
from pg_catalog.pg_operator o
join pg_catalog.pg_proc p on p.oid = o.oprcode
join pg_catalog.pg_language l on l.oid = p.prolang
where o.oid >= 16384
    and o.oprname = any ($1::text[])
    and (l.lanname not in ('c', 'internal') or (p.oid < 16384 and p.provolatile <> 'i'))
union all
select 'the type ' || t.typname
from named
join pg_catalog.pg_type t on t.oid = named.oid
where t.typtype not in ('b', 'c', 'd', 'e')
    or exists (select from pg_catalog.pg_constraint c where c.contypid = t.oid)
    or exists (
        select from pg_catalog.pg_cast c
        join pg_catalog.pg_proc p on p.oid = c.castfunc
        join pg_catalog.pg_language l on l.oid = p.prolang
        where t.oid in (c.castsource, c.casttarget)
            and c.oid >= 16384
            and l.lanname not in ('c', 'internal')
    )
limit 1
