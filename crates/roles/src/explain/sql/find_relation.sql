-- $1: the name's parts; $2: the schemas for a name without one.
select c.oid as relation, n.oid as schema_oid, n.nspname::pg_catalog.text as schema,
    c.relname::pg_catalog.text as name, c.relkind::pg_catalog.text as kind,
    c.relrowsecurity as row_security, c.relforcerowsecurity as forced, c.relowner as owner,
    pg_catalog.pg_get_userbyid(c.relowner)::pg_catalog.text as owner_name,
    coalesce(pg_catalog.array_to_string(c.reloptions, ' ') ~ 'security_invoker=(true|on|yes|1)', false)
        as invoker,
    -- A row trigger may change the row before a policy sees it.
    exists (
        select from pg_catalog.pg_trigger t
        where t.tgrelid = c.oid and not t.tgisinternal and t.tgtype & 3 = 3
    ) as changed_by_trigger
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f')
    and c.relname = ($1::pg_catalog.text[])[pg_catalog.cardinality($1)]
    and case pg_catalog.cardinality($1)
        when 1 then n.nspname = any ($2::pg_catalog.text[])
        when 2 then n.nspname = $1[1]
        else false
    end
order by pg_catalog.array_position($2, n.nspname::pg_catalog.text) limit 1
