"""Random text is no role and no query, so that nothing would ever be minted or read: half of it is one."""

import schemathesis

QUERIES = (
    "select 1 as one",
    "select id, purpose from app.expense_claim order by id",
    "select 1 / (random() * 0)::int as never",
)


@schemathesis.hook
def map_body(_context, body):
    if isinstance(body, dict) and isinstance(body.get("role"), str) and len(body["role"]) % 2:
        return {**body, "role": "alice"}
    return body


@schemathesis.hook
def before_call(_context, case, **_kwargs):
    if not case.operation.path.startswith("/query"):
        return
    # A live query does not end.
    if isinstance(case.query, dict) and case.query.get("live") in (True, "true", "True"):
        case.query["live"] = "false"
    asked = case.body if case.method == "POST" else case.query
    if isinstance(asked, dict) and isinstance(asked.get("sql"), str) and len(asked["sql"]) % 2:
        asked["sql"] = QUERIES[len(asked["sql"]) % len(QUERIES)]
        asked.pop("params", None)
        # No position and no transaction that is made up is ever reached.
        for name in [name for name in case.headers or {} if name.lower() in ("rolegate-min-lsn", "rolegate-txid")]:
            del case.headers[name]
