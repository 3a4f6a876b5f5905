-- $2: the relation's OID; $3: the privilege.
select pg_catalog.has_table_privilege($1, $2::pg_catalog.oid, $3::pg_catalog.text) as holds, (
    select x.chain from (
        select w.chain || (g.privilege_type || ' on '
            || c.oid::pg_catalog.regclass::pg_catalog.text
            || case when c.relacl is null then ' as its owner' else ' granted by '
                || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantor)) end) as chain,
            w.steps
        from pg_catalog.pg_class c
        cross join pg_catalog.aclexplode(
            coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) g
        join way w on w.oid = g.grantee
        where c.oid = $2 and g.privilege_type = $3
        union all
        select p.chain, p.steps from predefined p where p.privilege = $3
    ) x
    order by x.steps, x.chain limit 1) as chain
