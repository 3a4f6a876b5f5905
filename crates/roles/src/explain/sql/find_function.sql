-- $1: the name's parts; $2: the schemas for a name without one.
select p.oid as function, n.oid as schema_oid, n.nspname::pg_catalog.text as schema,
    p.oid::pg_catalog.regprocedure::pg_catalog.text as signature, p.prosecdef as definer,
    pg_catalog.pg_get_userbyid(p.proowner)::pg_catalog.text as owner_name,
    array(
        select pg_catalog.format_type(t.oid, null) from pg_catalog.unnest(p.proargtypes)
            with ordinality a (type, position)
        join pg_catalog.pg_type t on t.oid = a.type order by a.position) as types,
    array(
        select t.typname::pg_catalog.text from pg_catalog.unnest(p.proargtypes)
            with ordinality a (type, position)
        join pg_catalog.pg_type t on t.oid = a.type order by a.position) as type_names
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.proname = ($1::pg_catalog.text[])[pg_catalog.cardinality($1)]
    and case pg_catalog.cardinality($1)
        when 1 then n.nspname = any ($2::pg_catalog.text[])
        when 2 then n.nspname = $1[1]
        else false
    end
order by pg_catalog.array_position($2, n.nspname::pg_catalog.text), signature
