-- Rules about the whole installation; each row is one violation. A rule without rows holds.
with engine as (
    select r.rolname::pg_catalog.text as name, r.* from pg_catalog.pg_roles r
    where pg_catalog.starts_with(r.rolname, 'rolegate_')
),
owner as (select e.oid from engine e where e.name = 'rolegate_owner')

select 'every object of the schema belongs to the owner' as rule,
    c.oid::pg_catalog.regclass::pg_catalog.text as what
from pg_catalog.pg_class c
where c.relnamespace = 'rolegate'::pg_catalog.regnamespace
    and c.relowner <> (select o.oid from owner o)
union all
select 'every object of the schema belongs to the owner', t.typname
from pg_catalog.pg_type t
where t.typnamespace = 'rolegate'::pg_catalog.regnamespace
    and t.typowner <> (select o.oid from owner o)
union all
select 'every object of the schema belongs to the owner', n.nspname
from pg_catalog.pg_namespace n
where n.nspname = 'rolegate' and n.nspowner <> (select o.oid from owner o)

union all
select 'no role but the owner holds a privilege on a table of the schema',
    c.relname || ': ' || case when g.grantee = 0 then 'public'
        else pg_catalog.pg_get_userbyid(g.grantee) end || ' ' || g.privilege_type
from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) g
where c.relnamespace = 'rolegate'::pg_catalog.regnamespace and g.grantee <> c.relowner
union all
select 'no role but the owner holds a privilege on a table of the schema',
    c.relname || '.' || a.attname || ': ' || case when g.grantee = 0 then 'public'
        else pg_catalog.pg_get_userbyid(g.grantee) end || ' ' || g.privilege_type
from pg_catalog.pg_class c
join pg_catalog.pg_attribute a on a.attrelid = c.oid, pg_catalog.aclexplode(a.attacl) g
where c.relnamespace = 'rolegate'::pg_catalog.regnamespace and g.grantee <> c.relowner
    -- What a producer may say of a job; never whose it is.
    and not (c.relname = 'job_staging' and g.grantee = 'rolegate_producer'::pg_catalog.regrole
        and g.privilege_type = 'INSERT' and not g.is_grantable
        and a.attname in (
            'kind', 'args', 'queue', 'priority', 'max_attempts', 'run_at', 'run_after', 'unique_key',
            'on_conflict', 'unique_for', 'deadline', 'tags', 'metadata', 'trace', 'ordering_key',
            'limit_key', 'backoff', 'max_backoff'))
union all
select 'whose a staged job is comes from the session',
    a.attname || ': ' || coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), 'no default')
from (values
    ('role_name', $$COALESCE((NULLIF(current_setting('role'::text), 'none'::text))::name, SESSION_USER)$$),
    ('role_oid', $$(to_regrole(quote_ident((COALESCE((NULLIF(current_setting('role'::text), $$
        || $$'none'::text))::name, SESSION_USER))::text)))::oid$$),
    ('token_id', $$CASE WHEN (current_setting('rolegate.signed_claims'::text, true) <> ''::text) $$
        || $$THEN NULLIF(split_part(current_setting('rolegate.signed_claims'::text, true), $$
        || $$'|'::text, 7), ''::text) ELSE NULL::text END$$),
    ('claims', $$CASE WHEN (current_setting('rolegate.signed_claims'::text, true) <> ''::text) $$
        || $$THEN (rolegate.claims() - ARRAY['exp'::text, 'iat'::text, 'nbf'::text, 'jti'::text, $$
        || $$'aud'::text, 'azp'::text]) ELSE NULL::jsonb END$$)
) w (name, expression)
join pg_catalog.pg_attribute a on a.attname = w.name
left join pg_catalog.pg_attrdef d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
where a.attrelid = pg_catalog.to_regclass('rolegate.job_staging')
    and pg_catalog.btrim(pg_catalog.regexp_replace(
            pg_catalog.pg_get_expr(d.adbin, d.adrelid), '\s+', ' ', 'g'))
        is distinct from w.expression

union all
select 'nobody but the owner may create in the schema',
    case when g.grantee = 0 then 'public' else pg_catalog.pg_get_userbyid(g.grantee)::pg_catalog.text end
from pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) g
where n.nspname = 'rolegate' and g.privilege_type = 'CREATE' and g.grantee <> n.nspowner

union all
select 'PUBLIC holds nothing on the database', g.privilege_type
from pg_catalog.pg_database d,
    pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) g
where d.datname = pg_catalog.current_database() and g.grantee = 0

union all
select 'no login of ours may create temporary objects or schemas',
    e.name || ' ' || p.privilege
from engine e, (values ('TEMPORARY'), ('CREATE')) p (privilege)
where e.rolcanlogin
    and pg_catalog.has_database_privilege(e.oid, pg_catalog.current_database(), p.privilege)
union all
select 'no login of ours may create in any schema', e.name || ' in ' || n.nspname
from engine e, pg_catalog.pg_namespace n
where e.rolcanlogin and pg_catalog.has_schema_privilege(e.oid, n.oid, 'CREATE')

union all
select 'no role of ours has an attribute that reaches around grants', e.name
from engine e
where e.rolsuper or e.rolcreaterole or e.rolcreatedb or e.rolbypassrls
    or (e.rolreplication and e.name <> 'rolegate_replicator')
union all
select 'roles of ours log in exactly where they must', w.name
from (values
    ('rolegate_owner', false), ('rolegate_migrator', true), ('rolegate_authenticator', true),
    ('rolegate_anonymous', true), ('rolegate_gateway', true), ('rolegate_worker', true),
    ('rolegate_receiver', true), ('rolegate_maintenance', true), ('rolegate_console', true),
    ('rolegate_replicator', true), ('rolegate_runtime', true), ('rolegate_operator', false),
    ('rolegate_viewer', false), ('rolegate_producer', false), ('rolegate_requester', false),
    ('rolegate_on_behalf', false), ('rolegate_grantor', false), ('rolegate_admitted', false),
    ('rolegate_publisher', false)
) w (name, login)
left join engine e on e.name = w.name
where e.rolcanlogin is distinct from w.login

union all
select 'nobody can become the owner of what event triggers run', m.member::pg_catalog.regrole::pg_catalog.text
from pg_catalog.pg_auth_members m
join engine e on e.oid = m.roleid
where e.name = 'rolegate_publisher'

union all
-- Dependencies of the kinds ACL, initial ACL, owner and policy, here and cluster-wide.
select 'the logins of callers'' code own nothing and are granted nothing but CONNECT',
    e.name || ': ' || coalesce(pg_catalog.pg_describe_object(s.classid, s.objid, s.objsubid), '?')
from engine e join pg_catalog.pg_shdepend s
    on s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass and s.refobjid = e.oid
where e.name in ('rolegate_authenticator', 'rolegate_anonymous')
    -- Since 16 each membership depends on its roles; memberships have their own rules here.
    and s.classid <> 'pg_catalog.pg_auth_members'::pg_catalog.regclass
    and s.dbid in (0, (select d.oid from pg_catalog.pg_database d
                       where d.datname = pg_catalog.current_database()))
    and not (s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass and s.deptype = 'a'
        and not exists (
            select from pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) g
            where d.oid = s.objid and g.grantee = e.oid and g.privilege_type <> 'CONNECT'))
union all
select 'the authenticator inherits nothing', e.name
from engine e where e.name = 'rolegate_authenticator' and e.rolinherit
union all
select 'the authenticator inherits nothing', pg_catalog.pg_get_userbyid(m.roleid)
from pg_catalog.pg_auth_members m join engine e on e.oid = m.member
where e.name = 'rolegate_authenticator'
    -- The column came with 16; read like this, the query also runs on 15.
    and coalesce((pg_catalog.to_jsonb(m) ->> 'inherit_option')::pg_catalog.bool, false)
union all
select 'the authenticator becomes only admitted roles', pg_catalog.pg_get_userbyid(m.roleid)
from pg_catalog.pg_auth_members m join engine e on e.oid = m.member
where e.name = 'rolegate_authenticator'
    and not exists (
        select from pg_catalog.pg_auth_members a
        where a.member = m.roleid and a.roleid = 'rolegate_admitted'::pg_catalog.regrole)
union all
select 'the anonymous login is a member of nothing', pg_catalog.pg_get_userbyid(m.roleid)
from pg_catalog.pg_auth_members m join engine e on e.oid = m.member
where e.name = 'rolegate_anonymous'
union all
select 'only the migrator is a member of the owner', pg_catalog.pg_get_userbyid(m.member)
from pg_catalog.pg_auth_members m
where m.roleid = (select o.oid from owner o)
    and m.member <> 'rolegate_migrator'::pg_catalog.regrole
union all
select 'no application role is a member of an engine login',
    pg_catalog.pg_get_userbyid(m.member) || ' -> ' || e.name
from pg_catalog.pg_auth_members m join engine e on e.oid = m.roleid
where e.rolcanlogin and m.member <> 'rolegate_runtime'::pg_catalog.regrole

union all
select 'PUBLIC may not use built-in functions that reach around roles',
    p.oid::pg_catalog.regprocedure::pg_catalog.text
from pg_catalog.pg_proc p,
    pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) g
where p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace and g.grantee = 0
    and (p.proname ~ '^lo_'
        or p.proname ~ '^pg_(try_)?advisory_(xact_)?lock'
        or p.proname in ('loread', 'lowrite', 'pg_logical_emit_message',
            'pg_terminate_backend', 'pg_cancel_backend', 'pg_prepared_statement'))

union all
select 'functions of the owner are not executable by PUBLIC by default', 'default privileges'
where not exists (
    select from pg_catalog.pg_default_acl a
    where a.defaclrole = (select o.oid from owner o) and a.defaclnamespace = 0
        and a.defaclobjtype = 'f'
        and not exists (
            select from pg_catalog.aclexplode(a.defaclacl) g where g.grantee = 0))

union all
select 'the logins of callers'' code do not publish their statements', e.name
from engine e
where e.name in ('rolegate_authenticator', 'rolegate_anonymous')
    and not exists (
        select from pg_catalog.pg_db_role_setting s
        where s.setrole = e.oid and s.setdatabase = 0
            and 'track_activities=off' = any (s.setconfig))
