-- What requests without a token reach by grants of their own, beyond PUBLIC.
select distinct on (g.relation, g.privilege, g.columns)
    case when g.privilege in ('SELECT', 'USAGE') then 'anonymous_reads' else 'anonymous_writes' end
        as id,
    case when g.privilege in ('SELECT', 'USAGE') then 'warning' else 'error' end as severity,
    g.relation::pg_catalog.regclass::pg_catalog.text as object,
    'Requests without a token have ' || g.privilege || coalesce(' (' || g.columns || ')', '')
        || ' on this relation.' as message,
    h.chain || (g.privilege || coalesce(' (' || g.columns || ')', '') || ' on '
        || g.relation::pg_catalog.regclass::pg_catalog.text) as chain,
    'revoke ' || g.privilege || coalesce(' (' || g.columns || ')', '') || ' on '
        || case when g.relkind = 'S' then 'sequence ' else 'table ' end
        || g.relation::pg_catalog.regclass::pg_catalog.text || ' from '
        || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) || ';' as fix
from relation_grant g
join holder h on h.grantee = g.grantee and h.kind = 'anonymous'
order by g.relation, g.privilege, g.columns, pg_catalog.cardinality(h.chain), h.chain
