-- Every function of the schema with its holders of EXECUTE besides the owner, and whether it is
-- a definer function of the owner with the one search path it may have.
select
    n.nspname || '.' || p.proname || '('
        || (select coalesce(pg_catalog.string_agg(pg_catalog.format_type(a.type, null), ',' order by a.position), '')
            from pg_catalog.unnest(p.proargtypes::pg_catalog.oid[]) with ordinality a (type, position))
        || ')' as signature,
    (select coalesce(pg_catalog.array_agg(
            case when g.grantee = 0 then 'public' else pg_catalog.pg_get_userbyid(g.grantee)::pg_catalog.text end
            order by 1), '{}')
        from pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) g
        where g.grantee <> p.proowner) as grantees,
    pg_catalog.pg_get_userbyid(p.proowner)::pg_catalog.text as owner,
    p.prosecdef as definer,
    coalesce(p.proconfig, '{}') as settings
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where n.nspname = 'rolegate'
order by 1
