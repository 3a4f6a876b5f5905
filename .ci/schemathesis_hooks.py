"""Random text is no role, so that nothing would ever be minted: half of the roles are one."""

import schemathesis


@schemathesis.hook
def map_body(_context, body):
    if isinstance(body, dict) and isinstance(body.get("role"), str) and len(body["role"]) % 2:
        return {**body, "role": "alice"}
    return body
