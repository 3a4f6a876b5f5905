-- $1 state, $2 queue, $3 kind, $4 tag, $5 below which place, $6 jobs of a page.
with looked as (
    select l.*, pg_catalog.row_number() over () as nth
    from rolegate.list_jobs($1, $2, $3, $4, $5, $6::pg_catalog.int4) l
)
select pg_catalog.json_build_object(
    'rows', (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'id', l.id,
            'kind', l.kind,
            'queue', l.queue,
            'state', l.state,
            'priority', l.priority,
            'attempt', l.attempt,
            'max_attempts', l.max_attempts,
            'reason', l.reason,
            'dead_letter', l.dead_letter,
            'run_at', l.run_at,
            'created_at', l.enqueued_at,
            'attempted_at', l.claimed_at,
            'finalized_at', l.ended_at,
            'enqueued_by', l.enqueued_by) order by l.nth), '[]')
        from looked l where l.id is not null),
    -- A full page, or a last row that says only how far was looked.
    'next', (
        select l.next_before from looked l
        where l.nth = (select pg_catalog.count(*) from looked)
            and (l.nth >= $6 or l.id is null)))
