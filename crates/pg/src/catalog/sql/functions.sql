-- Functions and procedures of the exposed schemas. Members of extensions are not exposed: their
-- authors did not write them for callers.
select
    p.oid,
    n.nspname::text,
    p.proname::text,
    p.prokind::text,
    p.provolatile::text,
    p.prosecdef,
    l.lanname::text,
    case when p.prosqlbody is null then p.prosrc end,
    pg_catalog.obj_description(p.oid, 'pg_proc'),
    p.proretset,
    p.prorettype,
    p.pronargs::int4,
    p.pronargdefaults::int4,
    p.provariadic,
    coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[]),
    p.proargmodes::text[],
    p.proargnames,
    p.proconfig
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join pg_catalog.pg_language l on l.oid = p.prolang
where n.nspname = any ($1::text[])
    and p.prokind in ('f', 'p')
    and not exists (
        select from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
            and d.objid = p.oid and d.deptype = 'e'
    )
    and p.prorettype not in (
        'pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype
    )
order by n.nspname, p.proname, p.oid
