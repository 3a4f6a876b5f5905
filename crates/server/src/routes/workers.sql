select coalesce(
    pg_catalog.json_agg(
        pg_catalog.json_build_object(
            'id', w.id,
            'name', w.name,
            'version', w.version,
            'queues', w.queues,
            'started_at', w.started_at,
            'last_seen_at', w.seen_at,
            'running', w.running,
            'oldest_attempted_at', w.oldest_claimed_at)
        order by w.id), '[]')
from rolegate.workers() w
