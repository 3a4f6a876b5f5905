-- Policies that read a setting, themselves or in a function they call: any role may set any
-- setting with a dot in its name, so whoever runs SQL text decides what such a policy sees.
-- A check of the text: what is hidden in a function of a function is not found.
, expression (policy, relation, text, tree) as (
    select p.oid, p.polrelid, pg_catalog.pg_get_expr(e.tree, p.polrelid), e.tree::pg_catalog.text
    from pg_catalog.pg_policy p
    join pg_catalog.pg_class c on c.oid = p.polrelid
    join app_schema s on s.oid = c.relnamespace
    cross join lateral (values (p.polqual), (p.polwithcheck)) e (tree)
    where e.tree is not null
),
reading (policy, via) as (
    select e.policy, 'its expression' from expression e
    where e.text ~* 'current_setting\s*\('
        -- What the server itself sets and a role cannot change to another's.
        and pg_catalog.regexp_replace(
            e.text,
            'current_setting\s*\(\s*''(role|is_superuser|session_authorization|server_version(_num)?)''',
            '', 'gi') ~* 'current_setting\s*\('
    union
    select e.policy, 'function ' || f.oid::pg_catalog.regprocedure::pg_catalog.text
    from expression e
    cross join lateral pg_catalog.regexp_matches(e.tree, ':funcid (\d+)', 'g') m (id)
    join pg_catalog.pg_proc f on f.oid = m.id[1]::pg_catalog.oid
    join app_schema s on s.oid = f.pronamespace
    where coalesce(f.prosrc, '') || coalesce(pg_catalog.pg_get_function_sqlbody(f.oid), '')
        ~* 'current_setting\s*\('
)
select
    'policy_trusts_setting' as id, 'error' as severity,
    pg_catalog.quote_ident(p.polname) || ' on '
        || p.polrelid::pg_catalog.regclass::pg_catalog.text as object,
    'This policy believes a setting that any role can change.' as message,
    array['policy ' || pg_catalog.quote_ident(p.polname), r.via || ' reads a setting'] as chain,
    '-- use (select rolegate.claim(''...'')), whose value is signed' as fix
from reading r join pg_catalog.pg_policy p on p.oid = r.policy
