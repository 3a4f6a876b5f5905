-- $2: the relation. Its policies that apply to the role, with what decides whether each can be
-- evaluated. The expression tree's text names every function by OID; pg_depend has no built-ins.
select pg_catalog.quote_ident(p.polname) as name, p.polpermissive as permissive,
    p.polcmd::pg_catalog.text as command, applies.chain,
    pg_catalog.pg_get_expr(p.polqual, p.polrelid) as using_text,
    pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) as check_text,
    tree.volatile, tree.reads_relations, tree.calls_functions
from pg_catalog.pg_policy p
cross join lateral (
    select w.chain || ('policy for ' || case when r.oid = 0 then 'PUBLIC'
            else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(r.oid)) end) as chain
    from pg_catalog.unnest(p.polroles) r (oid) join way w on w.oid = r.oid
    order by w.steps, w.chain limit 1
) applies
cross join lateral (
    select pg_catalog.concat(p.polqual::pg_catalog.text, ' ', p.polwithcheck::pg_catalog.text) as text
) raw
cross join lateral (
    select
        exists (
            select from pg_catalog.regexp_matches(
                raw.text, ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)', 'g') m (id)
            join pg_catalog.pg_proc f on f.oid = m.id[1]::pg_catalog.oid
            where f.provolatile = 'v')
        or exists (
            select from pg_catalog.regexp_matches(raw.text, ':opno (\d+)', 'g') m (id)
            join pg_catalog.pg_operator o on o.oid = m.id[1]::pg_catalog.oid
            join pg_catalog.pg_proc f on f.oid = o.oprcode
            where f.provolatile = 'v')
        -- The table itself: the server refuses that as endless. A view: it may call anything.
        or exists (
            select from pg_catalog.regexp_matches(raw.text, ':relid (\d+)', 'g') m (id)
            join pg_catalog.pg_class c on c.oid = m.id[1]::pg_catalog.oid
            where c.oid = p.polrelid or c.relkind = 'v') as volatile,
        raw.text ~ ':relid \d+' as reads_relations,
        exists (
            select from pg_catalog.regexp_matches(raw.text, ':funcid (\d+)', 'g') m (id)
            join pg_catalog.pg_proc f on f.oid = m.id[1]::pg_catalog.oid
            where f.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace) as calls_functions
) tree
where p.polrelid = $2::pg_catalog.oid
order by p.polpermissive desc, p.polname
