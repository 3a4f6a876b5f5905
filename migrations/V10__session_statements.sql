-- Counting prepared statements without letting anybody read their names. A caller who knows the
-- name of a statement of ours could put his own in its place for the next caller; the bootstrap
-- takes pg_prepared_statement() away from PUBLIC, and this function tells one number only.

-- PL/pgSQL keeps its plan for the life of the session; a SQL function with a definer's rights would
-- be planned again at every call, which costs half as much as a whole call.
create function rolegate.session_statements() returns bigint
language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    -- -1: SQL made one of them.
    return (
        select case when pg_catalog.bool_or(p.from_sql) then -1 else pg_catalog.count(*) end
        from pg_catalog.pg_prepared_statement() p
    );
end
$$;
-- Every session that runs callers' code ends its requests with this function, under whatever
-- login; EXECUTE stays with PUBLIC on purpose.
grant execute on function rolegate.session_statements() to public;
