select coalesce(
    pg_catalog.json_agg(
        pg_catalog.json_build_object(
            'queue', q.queue,
            'paused', q.paused_at is not null,
            'paused_at', q.paused_at,
            'paused_by', q.paused_by,
            'total_queued',
                q.available + q.running + q.scheduled + q.retryable + q.waiting_external,
            'available', q.available,
            'blocked', q.blocked,
            'running', q.running,
            'scheduled', q.scheduled,
            'retryable', q.retryable,
            'waiting_external', q.waiting_external,
            'dead_letters', q.dead_letters,
            'at_least', q.at_least,
            'lag_seconds',
                pg_catalog.round(extract(epoch from q.oldest_available), 3)::pg_catalog.float8,
            'limits', q.limits,
            'dead_letters_kept', q.dead_letters_kept,
            'aging_seconds', extract(epoch from q.aging)::pg_catalog.float8,
            'backoff_seconds', extract(epoch from q.backoff)::pg_catalog.float8,
            'max_backoff_seconds', extract(epoch from q.max_backoff)::pg_catalog.float8)
        order by q.queue), '[]')
from rolegate.queues() q
where $1 is null or q.queue = $1
