select pg_catalog.json_build_object(
    'total', coalesce(pg_catalog.sum(q.dead_letters), 0)::pg_catalog.int8,
    'by_queue', coalesce(
        pg_catalog.json_agg(
            pg_catalog.json_build_object('queue', q.queue, 'count', q.dead_letters)
            order by q.queue) filter (where q.dead_letters > 0), '[]'),
    'at_least', coalesce(pg_catalog.bool_or('dead_letters' = any (q.at_least)), false))
from rolegate.queues() q
