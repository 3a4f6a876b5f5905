-- Which database of which server, and of which of those that have a copy of it.
select
    (select s.system_identifier from pg_catalog.pg_control_system() s)::text,
    pg_catalog.current_database()::text,
    pg_catalog.to_char(
        pg_catalog.pg_postmaster_start_time() at time zone 'UTC',
        'YYYY-MM-DD HH24:MI:SS.US'
    )
