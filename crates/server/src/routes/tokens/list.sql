-- $1 role, $2 revoked, $3 id after which the page starts, $4 tokens of a page.
with found as (
    -- One more than is shown says whether there is a next page.
    select t.*, pg_catalog.row_number() over (order by t.created_at desc, t.token_id) as place
    from rolegate.page_api_tokens($1, $2, $3, $4::pg_catalog.int4 + 1) t
), shown as (
    select f.* from found f where f.place <= $4
)
select pg_catalog.json_build_object(
    'tokens', (
        select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'token_id', s.token_id,
            'role', s.role_name,
            'state', case
                when s.revoked_at is not null then 'revoked'
                when s.expires_at <= pg_catalog.now() then 'expired'
                when s.role_replaced then 'role_replaced'
                else 'valid'
            end,
            'description', s.description,
            'scopes', s.scopes,
            'created_at', s.created_at,
            'created_by', s.created_by,
            'expires_at', s.expires_at,
            'last_used_at', s.last_used_at,
            'revoked_at', s.revoked_at,
            'revoked_by', s.revoked_by) order by s.place), '[]')
        from shown s),
    'next', (
        select s.token_id from shown s
        where (select pg_catalog.count(*) from found) > $4
        order by s.place desc limit 1))
