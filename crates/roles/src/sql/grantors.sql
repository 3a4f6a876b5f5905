-- Who granted $1 to $2; NULL where the version does not tell grants apart by grantor.
select case
        when pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 160000
        then pg_catalog.pg_get_userbyid(m.grantor)::pg_catalog.text
    end
from pg_catalog.pg_auth_members m
where m.roleid = (select g.oid from pg_catalog.pg_roles g where g.rolname = $1::pg_catalog.text)
    and m.member = (select u.oid from pg_catalog.pg_roles u where u.rolname = $2::pg_catalog.text)
