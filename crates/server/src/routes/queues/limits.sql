select rolegate.set_queue_limits(
    queue => $1,
    concurrency => $2::pg_catalog.int4,
    rate => $3,
    burst => $4::pg_catalog.int4,
    key_concurrency => $5::pg_catalog.int4,
    key_rate => $6,
    key_burst => $7::pg_catalog.int4)
