-- SECURITY DEFINER functions in whose search path somebody else can put an object: no path of
-- their own, a schema others create in, or temporary objects before the end. Temporary tables and
-- types come first unless `pg_temp` is named.
select
    'definer_search_path' as id,
    'error' as severity,
    p.oid::pg_catalog.regprocedure::pg_catalog.text as object,
    'This SECURITY DEFINER function, which runs as '
        || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(p.proowner)) || ', '
        || case
            when c.setting is null then 'has the search path of its caller'
            when c.writable is not null
                then 'looks into schema ' || c.writable || ', where others may create objects'
            else 'does not have pg_temp at the end of its search path'
        end || '.' as message,
    array[]::pg_catalog.text[] as chain,
    'alter ' || case when p.prokind = 'p' then 'procedure ' else 'function ' end
        || p.oid::pg_catalog.regprocedure::pg_catalog.text
        || ' set search_path = pg_catalog, '
        || pg_catalog.quote_ident(n.nspname) || ', pg_temp;' as fix
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join (
    select a.oid from app_schema a
    union all
    select r.oid from pg_catalog.pg_namespace r where r.nspname = 'rolegate'
) s on s.oid = p.pronamespace
cross join lateral (
    select
        x.setting,
        (select pg_catalog.min(pg_catalog.btrim(e.entry, ' "'))
            from pg_catalog.string_to_table(x.setting, ',') e (entry)
            left join pg_catalog.pg_namespace w
                on w.nspname = pg_catalog.btrim(e.entry, ' "')
            where pg_catalog.btrim(e.entry, ' "') = '$user'
                or (w.oid is not null
                    and exists (
                        select from pg_catalog.aclexplode(w.nspacl) g
                        join reach r on r.grantee = g.grantee
                        where g.privilege_type = 'CREATE' and g.grantee <> p.proowner))
        ) as writable,
        coalesce(x.setting ~ '(^|, *)"?pg_temp"? *$', false) as temporary_last
    from (
        select (
            select pg_catalog.substr(c.entry, pg_catalog.length('search_path=') + 1)
            from pg_catalog.unnest(p.proconfig) c (entry)
            where pg_catalog.starts_with(c.entry, 'search_path=')
        ) as setting
    ) x
) c
where p.prosecdef
    and p.oid not in (select m.objid from extension_member m
        where m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass)
    and (c.setting is null or c.writable is not null or not c.temporary_last)
