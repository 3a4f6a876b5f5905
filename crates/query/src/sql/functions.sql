-- What the functions of these names are, and whether they can be called from where the name stands. $1: names in
-- front of a parenthesis; $2: names behind a point, where a function of one argument can be meant; $3: those of them
-- behind a value that could be of any type; behind the others stands a row, unless somebody made a cast that gives a
-- row another type. $4: all names; of PostgreSQL's own functions the dangerous ones are not to be mentioned. $5: who
-- asks, if he is not to know of functions that he can't call; NULL: all count.
select
    n.nspname,
    p.proname,
    p.oid < 16384 and n.nspname = 'pg_catalog',
    p.provolatile::text,
    p.prokind::text,
    p.oid,
    named.called
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
cross join lateral (
    select p.proname = any ($1::text[])
        or (p.proname = any ($2::text[])
            and p.pronargs - p.pronargdefaults <= 1
            and p.pronargs >= 1
            and (
                p.oid < 16384
                or p.proname = any ($3::text[])
                or exists (
                    select from pg_catalog.pg_type t
                    where t.oid = p.proargtypes[0]
                        and (t.typtype in ('c', 'p') or t.typbasetype <> 0)
                )
                or exists (
                    select from pg_catalog.pg_cast c
                    join pg_catalog.pg_type t on t.oid = c.castsource
                    where c.oid >= 16384 and c.castcontext = 'i' and t.typtype = 'c'
                )
            )
        ) as called
) named
where p.proname = any ($1::text[] || $2::text[] || $4::text[])
    and (named.called or (p.oid < 16384 and n.nspname = 'pg_catalog'))
    and ($5::oid is null or (
        pg_catalog.has_schema_privilege($5::oid, n.oid, 'USAGE')
        and pg_catalog.has_function_privilege($5::oid, p.oid, 'EXECUTE')
    ))
