select 'role ' || a.oid || ' ' || a.rolname || ' ' || pg_catalog.concat_ws(',', a.rolsuper, a.rolinherit,
        a.rolcreaterole, a.rolcreatedb, a.rolcanlogin, a.rolreplication, a.rolbypassrls, a.rolconnlimit)
    || case
        when a.rolpassword is null then ''
        when pg_catalog.shobj_description(a.oid, 'pg_authid') = 'theirs' then ' ' || pg_catalog.md5(a.rolpassword)
        -- Ours is set at every start, with a new salt.
        else ' password'
    end
from pg_catalog.pg_authid a
union all
select 'setting ' || s.setrole || ' ' || s.setdatabase || ' ' || s.setconfig::text
from pg_catalog.pg_db_role_setting s
union all
select 'member ' || m.member::regrole || ' of ' || m.roleid::regrole || ' ' || m.admin_option
from pg_catalog.pg_auth_members m
union all
select 'database ' || d.datname
from pg_catalog.pg_database d
union all
select 'owner of database ' || d.datname || ' ' || d.datdba::regrole
from pg_catalog.pg_database d
union all
select 'in schema ' || n.nspname || ' ' || n.nspowner::regrole || ' ' || coalesce(n.nspacl::text, '-')
from pg_catalog.pg_namespace n
-- What PUBLIC loses in `public` is said in the plan.
where not pg_catalog.starts_with(n.nspname, 'pg_') and n.nspname <> 'public'
union all
select 'in relation ' || c.oid::regclass || ' ' || c.relowner::regrole || ' ' || coalesce(c.relacl::text, '-')
from pg_catalog.pg_class c
where c.relnamespace not in ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace,
    'information_schema'::regnamespace)
union all
select 'in function ' || p.oid::regprocedure || ' ' || p.proowner::regrole || ' '
    || coalesce(p.proacl::text, '-') || ' ' || pg_catalog.md5(pg_catalog.pg_get_functiondef(p.oid))
from pg_catalog.pg_proc p
where p.pronamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    and p.prokind in ('f', 'p')
