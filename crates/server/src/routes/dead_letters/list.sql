-- $1 queue, $2 kind, $3 tag, $4 below which place, $5 letters of a page.
with looked as (
    select l.*, pg_catalog.row_number() over () as nth
    from rolegate.dead_letters($1, $2, $3, $4, $5::pg_catalog.int4) l
)
select pg_catalog.json_build_object(
    'rows', (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'id', l.id,
            'kind', l.kind,
            'queue', l.queue,
            'state', 'failed',
            'priority', l.priority,
            'attempt', l.attempt,
            'max_attempts', l.max_attempts,
            'dlq_reason', l.reason,
            'dlq_at', l.ended_at,
            'error', l.error,
            'created_at', l.enqueued_at,
            'enqueued_by', l.enqueued_by) order by l.nth), '[]')
        from looked l where l.id is not null),
    'next', (
        select l.next_before from looked l
        where l.nth = (select pg_catalog.count(*) from looked)
            and (l.nth >= $5 or l.id is null)))
