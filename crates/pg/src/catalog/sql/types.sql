-- The given types and everything they are made of. Runs with an empty search path, so that
-- format_type names the schema of every type outside pg_catalog.
with recursive wanted (oid) as (
    select pg_catalog.unnest($1::pg_catalog.oid[])
    union
    select part.oid
    from wanted w
    join pg_catalog.pg_type t on t.oid = w.oid
    cross join lateral (
        select t.typelem where t.typcategory = 'A'
        union all
        select t.typbasetype where t.typtype = 'd'
        union all
        select a.atttypid
        from pg_catalog.pg_attribute a
        where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
    ) part (oid)
    where part.oid <> 0
)
select
    t.oid,
    pg_catalog.format_type(t.oid, null),
    t.typname::text,
    t.typtype::text,
    t.typcategory = 'A' and t.typelem <> 0 and t.typtype = 'b',
    t.typelem,
    t.typbasetype,
    t.typnotnull,
    -- What PostgreSQL says about its own types is not about the caller's data.
    case when t.oid >= 16384 then pg_catalog.obj_description(t.oid, 'pg_type') end,
    case when t.typtype = 'e' then array(
        select e.enumlabel::text
        from pg_catalog.pg_enum e
        where e.enumtypid = t.oid
        order by e.enumsortorder
    ) end,
    case when t.typtype = 'c' then array(
        select a.attname::text
        from pg_catalog.pg_attribute a
        where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
        order by a.attnum
    ) end,
    case when t.typtype = 'c' then array(
        select a.atttypid
        from pg_catalog.pg_attribute a
        where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
        order by a.attnum
    ) end
from pg_catalog.pg_type t
where t.oid in (select w.oid from wanted w)
