-- Functions that PUBLIC may execute, and owners whose next function will be one of them.
select
    'public_execute' as id,
    case when pg_catalog.has_schema_privilege('public', p.pronamespace, 'USAGE') or p.prosecdef
            or exists (
                select from subject s
                where pg_catalog.has_schema_privilege(s.oid, p.pronamespace, 'USAGE'))
        then 'error' else 'warning' end as severity,
    p.oid::pg_catalog.regprocedure::pg_catalog.text as object,
    'Every role may execute this '
        || case when p.prosecdef then 'SECURITY DEFINER ' else '' end || w.word
        || case when p.prosecdef
            then ', which runs as ' || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(p.proowner))
            else '' end
        || '.' as message,
    array['PUBLIC', 'EXECUTE on ' || p.oid::pg_catalog.regprocedure::pg_catalog.text
        || case when p.proacl is null then ' by default' else '' end] as chain,
    'revoke execute on ' || w.word || ' ' || p.oid::pg_catalog.regprocedure::pg_catalog.text
        || ' from public;' as fix
from pg_catalog.pg_proc p
join (
    select a.oid from app_schema a
    union all
    select n.oid from pg_catalog.pg_namespace n where n.nspname = 'rolegate'
) s on s.oid = p.pronamespace
join (values ('f', 'function'), ('p', 'procedure'), ('a', 'function'), ('w', 'function'))
    w (prokind, word) on w.prokind = p.prokind::pg_catalog.text
left join extension_member m
    on m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and m.objid = p.oid
where exists (
        select from pg_catalog.aclexplode(
            coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) g
        where g.grantee = 0 and g.privilege_type = 'EXECUTE')
    -- Trigger functions cannot be called.
    and p.prorettype not in (
        'pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)
    -- An extension's functions are made for everybody, but for those that open connections.
    and (m.objid is null or p.prosecdef or m.extension = 'dblink')
    -- Every policy may name the first two; the session's clean-up runs as every role.
    and p.oid::pg_catalog.regprocedure::pg_catalog.text not in (
        'rolegate.claims()', 'rolegate.claim(text)', 'rolegate.session_statements()')

union all
select
    'default_execute', 'warning', pg_catalog.quote_ident(o.rolname),
    'Every role may execute what this role creates next: it owns functions in an exposed schema, '
        || 'and its default privileges still give EXECUTE to PUBLIC.',
    array['PUBLIC', 'EXECUTE by default on functions of ' || pg_catalog.quote_ident(o.rolname)],
    'alter default privileges for role ' || pg_catalog.quote_ident(o.rolname)
        || ' revoke execute on functions from public;'
from pg_catalog.pg_roles o
where o.oid in (
        select p.proowner
        from pg_catalog.pg_proc p join app_schema s on s.oid = p.pronamespace and s.exposed
        where p.oid not in (select m.objid from extension_member m
            where m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass))
    -- Only the entry for all schemas can take the built-in grant away.
    and exists (
        select from pg_catalog.aclexplode(coalesce(
            (select d.defaclacl from pg_catalog.pg_default_acl d
                where d.defaclrole = o.oid and d.defaclnamespace = 0 and d.defaclobjtype = 'f'),
            pg_catalog.acldefault('f', o.oid))) g
        where g.grantee = 0)
