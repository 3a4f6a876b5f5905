-- $2: the relation's OID; $3: the privilege; $4: the columns.
select a.attname::pg_catalog.text as name,
    pg_catalog.has_column_privilege($1, $2::pg_catalog.oid, a.attnum, $3::pg_catalog.text) as holds,
    (
        select w.chain || (g.privilege_type || ' (' || pg_catalog.quote_ident(a.attname) || ') on '
            || $2::pg_catalog.regclass::pg_catalog.text || ' granted by '
            || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantor)))
        from pg_catalog.aclexplode(a.attacl) g
        join way w on w.oid = g.grantee
        where g.privilege_type = $3
        order by w.steps, w.chain limit 1) as chain
from pg_catalog.pg_attribute a
where a.attrelid = $2 and a.attnum > 0 and not a.attisdropped
    and a.attname = any ($4::pg_catalog.text[])
order by a.attnum
