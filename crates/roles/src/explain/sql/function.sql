-- $2: the function's OID.
select pg_catalog.has_function_privilege($1, $2::pg_catalog.oid, 'EXECUTE') as holds, (
    select w.chain || ('EXECUTE on ' || p.oid::pg_catalog.regprocedure::pg_catalog.text
        || case when p.proacl is null then ' by default' else ' granted by '
            || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantor)) end)
    from pg_catalog.pg_proc p
    cross join pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) g
    join way w on w.oid = g.grantee
    where p.oid = $2 and g.privilege_type = 'EXECUTE'
    order by w.steps, w.chain limit 1) as chain
