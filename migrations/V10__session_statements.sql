-- Counting prepared statements without letting anybody read their names. A caller who knows the
-- name of a statement of ours could put his own in its place for the next caller; the bootstrap
-- takes pg_prepared_statement() away from PUBLIC, and this function tells two numbers only.

-- PL/pgSQL keeps its plan for the life of the session; a SQL function with a definer's rights would
-- be planned again at every call, which costs half as much as a whole call.
create function rolegate.session_statements(out ours bigint, out from_sql bigint)
language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    select
        pg_catalog.count(*) filter (where not p.from_sql),
        pg_catalog.count(*) filter (where p.from_sql)
    into strict ours, from_sql
    from pg_catalog.pg_prepared_statement() p;
end
$$;
-- Every session that runs callers' code ends its requests with this function, under whatever
-- login; EXECUTE stays with PUBLIC on purpose.
grant execute on function rolegate.session_statements() to public;
