-- The texts of views of these names, in whatever schema: OID and text.
select c.oid, pg_catalog.pg_get_viewdef(c.oid)
from pg_catalog.pg_class c
where c.relkind = 'v'
    and c.oid >= 16384
    and c.relname = any ($1::text[])
