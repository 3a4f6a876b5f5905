-- Tables, columns, views and sequences that are granted to PUBLIC.
select
    case when g.relkind = 'S' then 'public_sequence' else 'public_table' end as id,
    case when g.relkind = 'S' then 'warning' else 'error' end as severity,
    g.relation::pg_catalog.regclass::pg_catalog.text as object,
    'Every role has ' || pg_catalog.string_agg(
        g.privilege || coalesce(' (' || g.columns || ')', ''), ', ' order by g.privilege, g.columns)
        || ' on this ' || pg_catalog.min(w.word) || '.' as message,
    array['PUBLIC', pg_catalog.string_agg(
        g.privilege || coalesce(' (' || g.columns || ')', ''), ', ' order by g.privilege, g.columns)
        || ' on ' || g.relation::pg_catalog.regclass::pg_catalog.text] as chain,
    'revoke all on ' || case when g.relkind = 'S' then 'sequence ' else 'table ' end
        || g.relation::pg_catalog.regclass::pg_catalog.text || ' from public;' as fix
from relation_grant g
join (values ('r', 'table'), ('p', 'table'), ('v', 'view'), ('m', 'materialized view'),
        ('f', 'foreign table'), ('S', 'sequence')) w (relkind, word)
    on w.relkind = g.relkind::pg_catalog.text
where g.grantee = 0
group by g.relation, g.relkind
