-- Stands before the query of every check. $1: the role of requests without a token; $2: the
-- exposed schemas.
with recursive
membership as (
    -- Since 16 the same membership can be granted by several grantors.
    select distinct m.member, m.roleid from pg_catalog.pg_auth_members m
),
admitted (oid) as (
    select m.member
    from membership m join pg_catalog.pg_roles g on g.oid = m.roleid
    where g.rolname = 'rolegate_admitted'
    union
    select m.member from membership m join admitted a on a.oid = m.roleid
),
-- Whom the audit is about. Our own logins are the business of `roles verify`.
subject (oid, kind, position) as (
    select r.oid, 'anonymous', 1 from pg_catalog.pg_roles r where r.rolname = $1::pg_catalog.text
    union all
    select r.oid, 'admitted', 2
    from pg_catalog.pg_roles r join admitted a on a.oid = r.oid
    where r.rolname <> $1 and not pg_catalog.starts_with(r.rolname, 'rolegate_')
),
-- Every grantee whose privileges a subject has or can take, and how. Memberships count whatever
-- their options: without INHERIT there is SET, and ADMIN is enough to grant oneself both.
holder (subject_oid, kind, position, grantee, path, chain) as (
    select s.oid, s.kind, s.position, s.oid, array[s.oid],
        array[s.kind || ' role ' || pg_catalog.quote_ident(r.rolname)]
    from subject s join pg_catalog.pg_roles r on r.oid = s.oid
    union all
    select h.subject_oid, h.kind, h.position, m.roleid, h.path || m.roleid,
        h.chain || ('member of ' || pg_catalog.quote_ident(r.rolname))
    from holder h
    join membership m on m.member = h.grantee
    join pg_catalog.pg_roles r on r.oid = m.roleid
    where m.roleid <> all (h.path)
),
-- With PUBLIC, the shortest way to each grantee first.
reach (kind, position, grantee, chain, steps) as (
    select 'public', 0, 0::pg_catalog.oid, array['PUBLIC'], 1
    union all
    select h.kind, h.position, h.grantee, h.chain, pg_catalog.cardinality(h.chain) from holder h
),
-- The schemas of the application: not the server's, not ours, not the temporary ones.
app_schema (oid, name, exposed) as (
    select n.oid, n.nspname::pg_catalog.text, n.nspname = any ($2::pg_catalog.text[])
    from pg_catalog.pg_namespace n
    where not pg_catalog.starts_with(n.nspname, 'pg_')
        and n.nspname not in ('information_schema', 'rolegate')
),
-- What an extension brought is its author's and changes with it.
extension_member (classid, objid, extension) as (
    select d.classid, d.objid, e.extname
    from pg_catalog.pg_depend d join pg_catalog.pg_extension e on e.oid = d.refobjid
    where d.deptype = 'e' and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
),
-- Who holds what on relations and columns, the owner aside.
relation_grant (relation, kind_word, relkind, privilege, grantee, columns) as (
    select c.oid, w.word, c.relkind, g.privilege_type, g.grantee, null
    from pg_catalog.pg_class c
    join app_schema s on s.oid = c.relnamespace
    join (values ('r', 'table'), ('p', 'table'), ('v', 'view'), ('m', 'materialized view'),
            ('f', 'foreign table'), ('S', 'sequence')) w (relkind, word)
        on w.relkind = c.relkind::pg_catalog.text
    cross join pg_catalog.aclexplode(c.relacl) g
    where g.grantee <> c.relowner
        and (c.oid not in (select m.objid from extension_member m
            where m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass))
    union all
    select c.oid, 'column', c.relkind, g.privilege_type, g.grantee,
        pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' order by a.attnum)
    from pg_catalog.pg_class c
    join app_schema s on s.oid = c.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and not a.attisdropped
    cross join pg_catalog.aclexplode(a.attacl) g
    where g.grantee <> c.relowner
        and (c.oid not in (select m.objid from extension_member m
            where m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass))
    group by c.oid, c.relkind, g.privilege_type, g.grantee
),
-- Relations whose rows a subject can read, with the first of its ways.
readable (relation, chain, kind) as (
    select distinct on (g.relation) g.relation,
        r.chain || (
            'SELECT' || coalesce(' (' || g.columns || ')', '') || ' on '
            || g.relation::pg_catalog.regclass::pg_catalog.text),
        r.kind
    from relation_grant g
    join reach r on r.grantee = g.grantee
    where g.privilege = 'SELECT'
    order by g.relation, r.position, r.steps, r.chain
)
