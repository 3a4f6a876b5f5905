-- What a new session is bound to; whether its callers can read names of prepared statements; and
-- whether `reset transaction_read_only` ends a read-only transaction (before 16 it does). They
-- can't read names if our schema has the counting function and nobody but superusers and the owner of
-- that function may call pg_prepared_statement() (a role that can be reached by `set role` counts).
select
    pg_catalog.pg_backend_pid(),
    (extract(epoch from pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8,
    (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()),
    coalesce((
        select not exists (
            select
            from pg_catalog.pg_proc p,
                pg_catalog.aclexplode(
                    coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))
                ) acl
            where p.oid = 'pg_catalog.pg_prepared_statement()'::pg_catalog.regprocedure
                and acl.grantee not in (p.proowner, counting.proowner)
        )
        from pg_catalog.pg_proc counting
        join pg_catalog.pg_namespace n on n.oid = counting.pronamespace
        where n.nspname = $1 and counting.proname = 'session_statements'
            and counting.pronargs = 0 and counting.prosecdef
    ), false),
    pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 160000
