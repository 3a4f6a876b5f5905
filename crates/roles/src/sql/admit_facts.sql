select r.oid as role_oid, r.rolinherit as inherits, r.rolcanlogin as may_login,
    pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 160000 as membership_options,
    (select s.rolsuper from pg_catalog.pg_roles s where s.rolname = current_user) as superuser
from pg_catalog.pg_roles r
where r.rolname = $1::pg_catalog.text
