select pg_catalog.json_build_object(
    'token_id', t.token_id,
    'token', t.token,
    'role', $1,
    'description', $2,
    'scopes', $3,
    'expires_at', t.expires_at)
from rolegate.mint_api_token(
    target_role => $1,
    description => $2,
    scopes => $3,
    never_expires => $4,
    expires_in => pg_catalog.make_interval(secs => $5)) t
