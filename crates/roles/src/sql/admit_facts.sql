select r.oid as role_oid, r.rolinherit as inherits, r.rolcanlogin as may_login,
    pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 160000 as membership_options,
    (select s.rolsuper from pg_catalog.pg_roles s where s.rolname = current_user) as superuser,
    -- As it was written; the server reads it as it reads a boolean.
    a.value as activity, a.value::pg_catalog.bool as activity_on
from pg_catalog.pg_roles r
left join lateral (
    select pg_catalog.substr(c.entry, pg_catalog.length('track_activities=') + 1) as value
    from pg_catalog.pg_db_role_setting s cross join pg_catalog.unnest(s.setconfig) c (entry)
    where s.setrole = r.oid and s.setdatabase = 0
        and pg_catalog.starts_with(c.entry, 'track_activities=')
) a on true
where r.rolname = $1::pg_catalog.text
