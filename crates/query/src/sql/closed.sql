-- Whether a type of these names ($1) is that of a relation which the role ($2) may not read: its columns could be
-- asked for without reading it. In a schema that he may not use he finds none. Rows of catalogs have columns that turn
-- names into numbers.
select exists (
    select from pg_catalog.pg_class c
    where c.relname = any ($1::text[])
        and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')
        and pg_catalog.has_schema_privilege($2::oid, c.relnamespace, 'USAGE')
        and case
            when c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace then true
            when c.relkind = 'c' then not pg_catalog.has_type_privilege($2::oid, c.reltype, 'USAGE')
            else not pg_catalog.has_any_column_privilege($2::oid, c.oid, 'SELECT')
        end
)
