-- Queries that were answered to everybody, by the hashes of their cursors, so that any process can make the answer
-- behind a cursor again, also after a restart. Whoever may ask for everything public may fill it, so it holds the last
-- ones only.
create table rolegate.query_sources (
    hash bytea primary key check (pg_catalog.octet_length(hash) = 32),
    -- The order in which they came; the oldest go first.
    number bigint generated always as identity unique,
    form text not null,
    sql text not null,
    params jsonb not null,
    answered_at timestamptz not null default pg_catalog.now()
);

-- Each element: `{"hash": hexadecimal, "form", "sql", "params": [text or null, ...]}`.
create function rolegate.remember_queries(queries jsonb, most integer) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    added integer;
begin
    insert into rolegate.query_sources (hash, form, sql, params)
    select distinct on (q.hash) pg_catalog.decode(q.hash, 'hex'), q.form, q.sql, q.params
    from pg_catalog.jsonb_to_recordset(queries) q (hash text, form text, sql text, params jsonb)
    where not exists (
        select from rolegate.query_sources s where s.hash = pg_catalog.decode(q.hash, 'hex'))
    order by q.hash
    on conflict (hash) do nothing;
    get diagnostics added = row_count;
    delete from rolegate.query_sources s
    where s.number <= (select pg_catalog.max(n.number) from rolegate.query_sources n) - most;
    return added;
end
$$;
revoke execute on function rolegate.remember_queries(jsonb, integer) from public;
grant execute on function rolegate.remember_queries(jsonb, integer) to rolegate_gateway;

create function rolegate.query_source(of_hash bytea)
returns table (form text, sql text, params jsonb)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select s.form, s.sql, s.params from rolegate.query_sources s where s.hash = of_hash
$$;
revoke execute on function rolegate.query_source(bytea) from public;
grant execute on function rolegate.query_source(bytea) to rolegate_gateway;
