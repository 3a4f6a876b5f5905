-- Whether a type of these names ($1) is that of a relation which the role ($2) may not read: its columns could be
-- asked for without reading it.
select exists (
    select from pg_catalog.pg_class c
    where c.relname = any ($1::text[])
        and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')
        and case
            when c.relkind = 'c' then not pg_catalog.has_type_privilege($2::oid, c.reltype, 'USAGE')
            else not pg_catalog.has_any_column_privilege($2::oid, c.oid, 'SELECT')
        end
)
