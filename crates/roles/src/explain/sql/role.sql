-- The role of the question, and whether this connection may try what it says. A superuser who
-- switched to another role may not.
select r.oid as role_oid, r.rolsuper as superuser, r.rolbypassrls as bypasses,
    coalesce((
        select pg_catalog.bool_and(s.rolsuper) from pg_catalog.pg_roles s
        where s.rolname in (current_user, session_user)), false) as may_try,
    pg_catalog.current_setting('search_path') as search_path,
    pg_catalog.current_schemas(false)::pg_catalog.text[] as schemas
from pg_catalog.pg_roles r
where r.rolname = $1::pg_catalog.text
