-- Operators of these names that somebody added, and that may give another result tomorrow.
select distinct o.oprname::text
from pg_catalog.pg_operator o
join pg_catalog.pg_proc p on p.oid = o.oprcode
where o.oid >= 16384
    and o.oprname = any ($1::text[])
    and p.provolatile <> 'i'
