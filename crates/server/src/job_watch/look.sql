-- $1: which transactions had ended the last time. As long as these are the same, nothing was committed.
-- `(queues)` is the statement that lists them.
select pg_catalog.json_build_object(
    'seen', s.seen,
    'queues', case when s.seen is distinct from $1 then (queues) end,
    -- The last of the values, so that the others are there by now.
    'seconds', extract(
        epoch from pg_catalog.clock_timestamp() - pg_catalog.statement_timestamp())::pg_catalog.float8)
from (select pg_catalog.pg_current_snapshot()::text as seen) s
