-- Four numbers that change when roles, rights, functions or relations change. Sums of row hashes
-- need no order and no memory; `xmin` changes with every update of a catalog row. What is temporary belongs to one
-- session and does not count.
with temporary as materialized (
    select n.oid from pg_catalog.pg_namespace n where n.nspname ~ '^pg_(toast_)?temp_'
)
select
    -- roles, memberships, their settings
    ((
        select coalesce(sum(pg_catalog.hashtextextended(r::text, 1)::numeric), 0)
        from pg_catalog.pg_roles r
    )
    + (
        select coalesce(sum(pg_catalog.hashint8extended(m.xmin::text::int8, m.roleid::int8 * 131071 + m.member::int8)::numeric), 0)
        from pg_catalog.pg_auth_members m
    )
    + (
        select coalesce(sum(pg_catalog.hashtextextended(s::text, 2)::numeric), 0)
        from pg_catalog.pg_db_role_setting s
    ))::text as roles,
    -- privileges and policies of tables and columns, schema and database privileges
    ((
        select coalesce(sum(pg_catalog.hashtextextended(
            c.oid::text || coalesce(c.relacl::text, '') || c.relowner::text
                || c.relrowsecurity::text || c.relforcerowsecurity::text, 3)::numeric), 0)
        from pg_catalog.pg_class c
        where c.oid >= 16384 and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.relpersistence <> 't'
    )
    + (
        select coalesce(sum(pg_catalog.hashtextextended(
            a.attrelid::text || a.attnum::text || a.attacl::text, 4)::numeric), 0)
        from pg_catalog.pg_attribute a
        where a.attacl is not null
    )
    + (
        select coalesce(sum(pg_catalog.hashint8extended(p.xmin::text::int8, p.oid::int8)::numeric), 0)
        from pg_catalog.pg_policy p
    )
    + (
        select coalesce(sum(pg_catalog.hashtextextended(d.datname || coalesce(d.datacl::text, '') || d.datdba::text, 5)::numeric), 0)
        from pg_catalog.pg_database d
    ))::text as privileges,
    -- functions of the exposed schemas, their types and comments; whether anything is deferrable
    ((
        select coalesce(sum(pg_catalog.hashint8extended(p.xmin::text::int8, p.oid::int8)::numeric), 0)
        from pg_catalog.pg_proc p
        join pg_catalog.pg_namespace n on n.oid = p.pronamespace
        where n.nspname = any ($1::text[])
    )
    + (
        select coalesce(sum(pg_catalog.hashint8extended(n.xmin::text::int8, n.oid::int8)::numeric), 0)
        from pg_catalog.pg_namespace n
        where n.oid not in (select temporary.oid from temporary)
    )
    + (
        select coalesce(sum(pg_catalog.hashint8extended(t.xmin::text::int8, t.oid::int8)::numeric), 0)
        from pg_catalog.pg_type t
        where t.oid >= 16384 and t.typnamespace not in (select temporary.oid from temporary)
    )
    + (
        select coalesce(sum(pg_catalog.hashint8extended(e.xmin::text::int8, e.oid::int8)::numeric), 0)
        from pg_catalog.pg_enum e
    )
    + (
        select coalesce(sum(pg_catalog.hashint8extended(d.xmin::text::int8, d.objoid::int8)::numeric), 0)
        from pg_catalog.pg_description d
        where d.objoid >= 16384
    )
    + (
        select pg_catalog.count(*) from pg_catalog.pg_trigger g where g.tgdeferrable
    ))::text as functions,
    -- what a query can read: tables, views and their texts, every function and operator it could call,
    -- what is published
    ((
        select coalesce(sum(pg_catalog.hashint8extended(c.xmin::text::int8, c.oid::int8)::numeric), 0)
        from pg_catalog.pg_class c
        where c.oid >= 16384 and c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relpersistence <> 't'
    )
    + (
        select coalesce(sum(pg_catalog.hashint8extended(r.xmin::text::int8, r.oid::int8)::numeric), 0)
        from pg_catalog.pg_rewrite r
        join pg_catalog.pg_class c on c.oid = r.ev_class
        where r.ev_class >= 16384 and c.relpersistence <> 't'
    )
    + (
        select coalesce(sum(pg_catalog.hashint8extended(p.xmin::text::int8, p.oid::int8)::numeric), 0)
        from pg_catalog.pg_proc p
        where p.oid >= 16384 and p.pronamespace not in (select temporary.oid from temporary)
    )
    + (
        select coalesce(sum(pg_catalog.hashint8extended(o.xmin::text::int8, o.oid::int8)::numeric), 0)
        from pg_catalog.pg_operator o
        where o.oid >= 16384
    )
    + (
        select coalesce(sum(pg_catalog.hashint8extended(p.xmin::text::int8, p.oid::int8)::numeric), 0)
        from pg_catalog.pg_publication_rel p
    ))::text as relations
