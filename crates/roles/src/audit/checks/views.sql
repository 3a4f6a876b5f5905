-- Relations that show rows without asking the row-level security of what they show: views with
-- their owner's rights, materialized views, foreign tables.
, depends (relation, source) as (
    select distinct w.ev_class, d.refobjid
    from pg_catalog.pg_rewrite w
    join pg_catalog.pg_depend d
        on d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and d.objid = w.oid
            and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    where d.refobjid <> w.ev_class
),
-- Through views of views, down to the tables.
source (relation, source) as (
    select d.relation, d.source from depends d
    union
    select s.relation, d.source from source s join depends d on d.relation = s.source
),
judged as (
    select r.relation, r.chain, c.relkind, c.relowner,
        (select pg_catalog.string_agg(t.oid::pg_catalog.regclass::pg_catalog.text, ', ' order by 1)
            from source s join pg_catalog.pg_class t on t.oid = s.source
            where s.relation = r.relation and t.relrowsecurity) as secured,
        -- The engine's own and the server's views are not what a role of the application lacks.
        (select pg_catalog.string_agg(t.oid::pg_catalog.regclass::pg_catalog.text, ', ' order by 1)
            from source s join pg_catalog.pg_class t on t.oid = s.source
            join app_schema n on n.oid = t.relnamespace
            where s.relation = r.relation and t.relkind in ('r', 'p', 'm', 'f')
                and not exists (select from readable o where o.relation = t.oid)) as unreadable,
        coalesce((
            select o.value in ('true', 'on', 'yes', '1', 't')
            from (select pg_catalog.split_part(x.entry, '=', 2) as value
                from pg_catalog.unnest(c.reloptions) x (entry)
                where pg_catalog.starts_with(x.entry, 'security_invoker=')) o), false) as invoker
    from readable r
    join pg_catalog.pg_class c on c.oid = r.relation
)
select
    'view_owner_rights' as id,
    case when j.secured is not null then 'error' else 'warning' end as severity,
    j.relation::pg_catalog.regclass::pg_catalog.text as object,
    'This view reads ' || coalesce(j.secured, j.unreadable) || ' with the rights of '
        || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(j.relowner))
        || case when j.secured is not null
            then ', so row-level security is that of its owner.'
            else ', which its readers cannot read themselves.' end as message,
    j.chain || ('as ' || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(j.relowner))
        || ': SELECT on ' || coalesce(j.secured, j.unreadable)) as chain,
    'alter view ' || j.relation::pg_catalog.regclass::pg_catalog.text
        || ' set (security_invoker = true);' as fix
from judged j
where j.relkind = 'v' and not j.invoker and (j.secured is not null or j.unreadable is not null)
union all
select
    'matview_without_rls',
    case when j.secured is not null then 'error' else 'warning' end,
    j.relation::pg_catalog.regclass::pg_catalog.text,
    'A materialized view has no row-level security'
        || coalesce(', and this one holds rows of ' || j.secured, '') || '.',
    j.chain,
    '-- grant a security_invoker view or a function instead' || E'\n'
        || 'revoke select on ' || j.relation::pg_catalog.regclass::pg_catalog.text || ' from '
        || coalesce((
            select pg_catalog.string_agg(distinct case when g.grantee = 0 then 'public'
                else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) end, ', ')
            from relation_grant g where g.relation = j.relation), 'public') || ';'
from judged j
where j.relkind = 'm'
union all
select
    'foreign_table_without_rls', 'warning',
    j.relation::pg_catalog.regclass::pg_catalog.text,
    'A foreign table has no row-level security, and the other server sees its user mapping, not '
        || 'the role.',
    j.chain,
    'revoke all on ' || j.relation::pg_catalog.regclass::pg_catalog.text || ' from '
        || coalesce((
            select pg_catalog.string_agg(distinct case when g.grantee = 0 then 'public'
                else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) end, ', ')
            from relation_grant g where g.relation = j.relation), 'public') || ';'
from judged j
where j.relkind = 'f'
