-- The database and its schemas: who may connect, create, and make temporary objects.
select
    case g.privilege_type
        when 'CONNECT' then 'public_connect'
        when 'TEMPORARY' then 'temp_for_public'
        else 'create_in_database'
    end as id,
    case g.privilege_type when 'CONNECT' then 'warning' else 'error' end as severity,
    pg_catalog.quote_ident(d.datname) as object,
    case g.privilege_type
        when 'CONNECT' then 'Every role may connect.'
        when 'TEMPORARY' then 'This role may make temporary objects, which come before real ones of the same name.'
        else 'This role may create schemas.'
    end as message,
    (r.chain || (g.privilege_type || ' on database ' || pg_catalog.quote_ident(d.datname)
        || case when d.datacl is null then ' by default' else '' end)) as chain,
    'revoke ' || pg_catalog.lower(g.privilege_type) || ' on database '
        || pg_catalog.quote_ident(d.datname) || ' from '
        || case when g.grantee = 0 then 'public'
            else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) end || ';' as fix
from pg_catalog.pg_database d
cross join pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) g
join reach r on r.grantee = g.grantee
where d.datname = pg_catalog.current_database()
    and (g.grantee = 0 or (g.privilege_type <> 'CONNECT' and g.grantee <> d.datdba))
union all
select * from (
    select distinct on (n.oid, g.grantee)
        'create_in_schema', 'error', pg_catalog.quote_ident(n.nspname),
        'Callers may create objects in this schema, among which others'' code looks for names.',
        r.chain || ('CREATE on schema ' || pg_catalog.quote_ident(n.nspname)
            || case when g.grantee = n.nspowner then ' as its owner' else '' end),
        'revoke create on schema ' || pg_catalog.quote_ident(n.nspname) || ' from '
            || case when g.grantee = 0 then 'public'
                else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) end || ';'
    from pg_catalog.pg_namespace n
    cross join pg_catalog.aclexplode(
        coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) g
    join reach r on r.grantee = g.grantee
    where g.privilege_type = 'CREATE'
        and not pg_catalog.starts_with(n.nspname, 'pg_toast')
        and not pg_catalog.starts_with(n.nspname, 'pg_temp')
    order by n.oid, g.grantee, r.position, r.steps, r.chain
) created
union all
-- Who may set what only a superuser may set otherwise.
select distinct
    'parameter_for_role', 'error', a.parname::pg_catalog.text,
    'Callers may set a parameter that is otherwise a superuser''s.',
    r.chain || (g.privilege_type || ' on parameter ' || a.parname),
    'revoke ' || g.privilege_type || ' on parameter ' || a.parname || ' from '
        || case when g.grantee = 0 then 'public'
            else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) end || ';'
from pg_catalog.pg_parameter_acl a
cross join pg_catalog.aclexplode(a.paracl) g
join reach r on r.grantee = g.grantee
union all
-- A server that everybody may use is a way out of the database.
select
    'foreign_server_for_public', 'error', pg_catalog.quote_ident(f.srvname),
    'Every role may use this foreign server.',
    array['PUBLIC', g.privilege_type || ' on foreign server ' || pg_catalog.quote_ident(f.srvname)],
    'revoke usage on foreign server ' || pg_catalog.quote_ident(f.srvname) || ' from public;'
from pg_catalog.pg_foreign_server f cross join pg_catalog.aclexplode(f.srvacl) g
where g.grantee = 0
union all
select
    'foreign_server_for_public', 'error', pg_catalog.quote_ident(f.srvname),
    'A user mapping for PUBLIC gives every role the same account on the other server.',
    array['PUBLIC', 'user mapping of ' || pg_catalog.quote_ident(f.srvname)],
    'drop user mapping for public server ' || pg_catalog.quote_ident(f.srvname) || ';'
from pg_catalog.pg_foreign_server f
join pg_catalog.pg_user_mappings m on m.srvid = f.oid and m.umuser = 0
