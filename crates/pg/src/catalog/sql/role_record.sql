-- When the role's present OID was first seen, and its budget.
select r.first_seen, r.requests_per_second, r.concurrency, r.statement_timeout_ms, r.max_rows,
    r.max_bytes
from rolegate.role_record($1, $2) r
