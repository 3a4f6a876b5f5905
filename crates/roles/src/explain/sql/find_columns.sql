-- $1: the relation.
select a.attname::pg_catalog.text as name, pg_catalog.format_type(a.atttypid, a.atttypmod) as type,
    a.atthasdef or a.attidentity <> '' as filled
from pg_catalog.pg_attribute a
where a.attrelid = $1::pg_catalog.oid and a.attnum > 0 and not a.attisdropped
order by a.attnum
