select pg_catalog.json_build_object(
    'available', coalesce(pg_catalog.sum(q.available), 0)::pg_catalog.int8,
    'running', coalesce(pg_catalog.sum(q.running), 0)::pg_catalog.int8,
    'scheduled', coalesce(pg_catalog.sum(q.scheduled), 0)::pg_catalog.int8,
    'retryable', coalesce(pg_catalog.sum(q.retryable), 0)::pg_catalog.int8,
    'waiting_external', coalesce(pg_catalog.sum(q.waiting_external), 0)::pg_catalog.int8,
    'dead_letters', coalesce(pg_catalog.sum(q.dead_letters), 0)::pg_catalog.int8,
    'at_least', coalesce(pg_catalog.bool_or(pg_catalog.cardinality(q.at_least) > 0), false),
    'lag_seconds', pg_catalog.round(
        extract(epoch from pg_catalog.max(q.oldest_available)), 3)::pg_catalog.float8,
    'queues', pg_catalog.count(*),
    'queues_paused', pg_catalog.count(q.paused_at),
    'workers', (select pg_catalog.count(*) from rolegate.workers()),
    'maintenance', (
        select pg_catalog.json_build_object(
            'leads', l.leads, 'name', l.name, 'since', l.since, 'term', l.term)
        from rolegate.maintenance_leader() l))
from rolegate.queues() q
