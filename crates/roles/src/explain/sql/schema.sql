-- $2: the schema's OID.
select pg_catalog.has_schema_privilege($1, $2::pg_catalog.oid, 'USAGE') as holds, (
    select x.chain from (
        select w.chain || ('USAGE on schema ' || pg_catalog.quote_ident(n.nspname)
            || ' granted by ' || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantor)))
            as chain, w.steps
        from pg_catalog.pg_namespace n
        cross join pg_catalog.aclexplode(
            coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) g
        join way w on w.oid = g.grantee
        where n.oid = $2 and g.privilege_type = 'USAGE'
        union all
        select p.chain, p.steps from predefined p where p.privilege = 'USAGE'
    ) x
    order by x.steps, x.chain limit 1) as chain
