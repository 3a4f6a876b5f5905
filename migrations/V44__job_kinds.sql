-- Which kinds of jobs there are.

-- Kinds of the newest 20,000 jobs that a list would show its reader, the most frequent first; at most 1,000.
-- `complete` is false if there are older jobs.
create function rolegate.kinds(only_queue text default null) returns table (
    kind text, jobs bigint, states jsonb, last_enqueued_at timestamptz, complete boolean
)
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    below bigint;
    page record;
    complete boolean := false;
    found_kinds text[] := '{}';
    found_states text[] := '{}';
    found_times timestamptz[] := '{}';
begin
    for nth in 1..20 loop
        select
            pg_catalog.count(*) as rows, min(l.next_before) as below,
            pg_catalog.array_agg(l.kind) filter (where l.id is not null) as kinds,
            pg_catalog.array_agg(l.state) filter (where l.id is not null) as states,
            pg_catalog.array_agg(l.enqueued_at) filter (where l.id is not null) as times
        into page
        from rolegate.list_places(null, only_queue, null, null, false, below, 1000) l;
        complete := page.rows = 0;
        exit when complete;
        found_kinds := found_kinds || page.kinds;
        found_states := found_states || page.states;
        found_times := found_times || page.times;
        below := page.below;
    end loop;
    return query
    select s.kind, pg_catalog.sum(s.n)::bigint, pg_catalog.jsonb_object_agg(s.state, s.n), max(s.at), complete
    from (
        select u.kind, u.state, pg_catalog.count(*) as n, max(u.at) as at
        from unnest(found_kinds, found_states, found_times) u (kind, state, at)
        group by u.kind, u.state
    ) s
    group by s.kind
    order by pg_catalog.sum(s.n) desc, s.kind
    limit 1000;
end
$$;
revoke execute on function rolegate.kinds(text) from public;
grant execute on function rolegate.kinds(text) to rolegate_producer, rolegate_viewer, rolegate_operator;
