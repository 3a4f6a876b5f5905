-- Facts about the database and its server.
select
    d.oid,
    (select s.system_identifier from pg_catalog.pg_control_system() s)::text,
    pg_catalog.current_setting('server_version_num')::int4,
    pg_catalog.current_setting('server_version')
from pg_catalog.pg_database d
where d.datname = pg_catalog.current_database()
