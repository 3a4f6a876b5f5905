-- Row-level security that does not do what its owner thinks.
select
    'rls_without_policies' as id, 'warning' as severity,
    c.oid::pg_catalog.regclass::pg_catalog.text as object,
    'Row-level security is on and there is no policy, so nobody but the owner sees a row.'
        as message,
    array[]::pg_catalog.text[] as chain,
    'create policy ... on ' || c.oid::pg_catalog.regclass::pg_catalog.text || ' ...;' as fix
from pg_catalog.pg_class c join app_schema s on s.oid = c.relnamespace
where c.relrowsecurity and not exists (
    select from pg_catalog.pg_policy p where p.polrelid = c.oid)
union all
select
    'policies_without_rls', 'error', c.oid::pg_catalog.regclass::pg_catalog.text,
    'There are policies and row-level security is off, so none of them is asked.',
    array['policies ' || (
        select pg_catalog.string_agg(pg_catalog.quote_ident(p.polname), ', ' order by p.polname)
        from pg_catalog.pg_policy p where p.polrelid = c.oid)],
    'alter table ' || c.oid::pg_catalog.regclass::pg_catalog.text || ' enable row level security;'
from pg_catalog.pg_class c join app_schema s on s.oid = c.relnamespace
where not c.relrowsecurity and exists (
    select from pg_catalog.pg_policy p where p.polrelid = c.oid)
union all
select * from (
    select distinct on (c.oid)
        'owner_without_force', 'error', c.oid::pg_catalog.regclass::pg_catalog.text,
        'Requests can run with the rights of the owner, who is not asked by row-level security.',
        h.chain || ('owner of ' || c.oid::pg_catalog.regclass::pg_catalog.text),
        'alter table ' || c.oid::pg_catalog.regclass::pg_catalog.text
            || ' force row level security;'
    from pg_catalog.pg_class c
    join app_schema s on s.oid = c.relnamespace
    join holder h on h.grantee = c.relowner
    where c.relrowsecurity and not c.relforcerowsecurity
    order by c.oid, h.position, pg_catalog.cardinality(h.chain), h.chain
) owned
