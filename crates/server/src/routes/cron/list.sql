select coalesce(
    pg_catalog.json_agg(
        pg_catalog.json_build_object(
            'name', c.name,
            'cron_expr', c.expression,
            'timezone', c.time_zone,
            'kind', c.kind,
            'args', c.args,
            'queue', c.queue,
            'priority', c.priority,
            'max_attempts', c.max_attempts,
            'runs_as', c.runs_as,
            'missed_fire_policy', c.missed,
            'only_one', c.only_one,
            'source', c.source,
            'declared_in', c.declared_in,
            'paused_at', c.paused_at,
            'paused_by', c.paused_by,
            'last_enqueued_at', c.last_fire,
            'last_job', c.last_job,
            'next_fire_at', c.next_fire,
            'problem', c.problem)
        order by c.name), '[]')
from rolegate.list_crons() c
