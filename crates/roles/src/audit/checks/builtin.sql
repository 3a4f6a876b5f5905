-- Built-in functions that reach around roles, and large objects, which have no table to guard.
select
    case when p.proname ~ '^(lo_|loread|lowrite)' then 'large_objects' else 'builtin_for_public' end
        as id,
    'warning' as severity,
    p.oid::pg_catalog.regprocedure::pg_catalog.text as object,
    case when p.proname ~ '^(lo_|loread|lowrite)'
        then 'Every role may use large objects, which have no quota.'
        when p.proname ~ 'advisory'
        then 'Every role may take advisory locks, whose keys all roles share.'
        when p.proname = 'pg_logical_emit_message'
        then 'Every role may write messages into the log of changes.'
        else 'Every role may end what other connections of its login do.'
    end as message,
    array['PUBLIC', 'EXECUTE on ' || p.oid::pg_catalog.regprocedure::pg_catalog.text
        || case when p.proacl is null then ' by default' else '' end] as chain,
    'revoke execute on function pg_catalog.'
        || p.oid::pg_catalog.regprocedure::pg_catalog.text || ' from public;' as fix
from pg_catalog.pg_proc p
where p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
    and (p.proname ~ '^lo_' or p.proname ~ '^pg_(try_)?advisory_(xact_)?lock'
        or p.proname in ('loread', 'lowrite', 'pg_logical_emit_message', 'pg_terminate_backend',
            'pg_cancel_backend'))
    and exists (
        select from pg_catalog.aclexplode(
            coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) g
        where g.grantee = 0)
union all
select distinct on (l.oid, g.privilege_type)
    'large_objects', 'error', 'large object ' || l.oid,
    'Callers have ' || g.privilege_type || ' on this large object.',
    r.chain || (g.privilege_type || ' on large object ' || l.oid),
    'revoke all on large object ' || l.oid || ' from '
        || case when g.grantee = 0 then 'public'
            else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) end || ';'
from pg_catalog.pg_largeobject_metadata l
cross join pg_catalog.aclexplode(l.lomacl) g
join reach r on r.grantee = g.grantee
union all
select
    'large_objects', 'error', 'lo_compat_privileges',
    'Privileges on large objects are not checked at all.',
    array[]::pg_catalog.text[], 'alter system reset lo_compat_privileges;'
where pg_catalog.current_setting('lo_compat_privileges')::pg_catalog.bool
