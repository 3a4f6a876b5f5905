select rolegate.set_queue(
    queue => $1,
    dead_letters => $2,
    aging => pg_catalog.make_interval(secs => $3),
    backoff => pg_catalog.make_interval(secs => $4),
    max_backoff => pg_catalog.make_interval(secs => $5))
