-- Whether code of users could run whose result depends on more than its arguments. $1: names in front of a
-- parenthesis; $2: names behind a point; $3: operators; $4: our schema, whose functions of claims are known.
with named as (
    select p.oid
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where (p.proname = any ($1::text[]) or (p.proname = any ($2::text[]) and p.pronargs >= 1))
        and p.oid >= 16384
        and not (n.nspname = $4 and p.proname in ('claim', 'claims'))
    union all
    select o.oprcode
    from pg_catalog.pg_operator o
    where o.oid >= 16384 and o.oprname = any ($3::text[])
),
-- An aggregate says nothing of the functions it is made of.
reached as (
    select n.oid from named n
    union all
    select part.oid
    from named n
    join pg_catalog.pg_aggregate a on a.aggfnoid = n.oid
    cross join lateral pg_catalog.unnest(array[
        a.aggtransfn::oid, a.aggfinalfn::oid, a.aggcombinefn::oid, a.aggserialfn::oid, a.aggdeserialfn::oid,
        a.aggmtransfn::oid, a.aggminvtransfn::oid, a.aggmfinalfn::oid
    ]) part (oid)
)
select exists (
        select from reached r
        join pg_catalog.pg_proc p on p.oid = r.oid
        where p.provolatile <> 'i' or p.prokind in ('w', 'p'))
    -- Neither is named where it runs.
    or exists (
        select from pg_catalog.pg_cast c
        join pg_catalog.pg_proc p on p.oid = c.castfunc
        where c.oid >= 16384 and p.provolatile <> 'i')
    or exists (
        select from pg_catalog.pg_depend d
        join pg_catalog.pg_constraint c on c.oid = d.objid
        join pg_catalog.pg_proc p on p.oid = d.refobjid
        where d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
            and d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
            and c.contypid <> 0
            and p.provolatile <> 'i')
