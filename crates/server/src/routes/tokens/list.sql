-- $1 role, $2 revoked, $3 id after which the page starts, $4 tokens of a page.
with listed as materialized (
    select t.*, pg_catalog.row_number() over (order by t.created_at desc, t.token_id) as place
    from rolegate.list_api_tokens() t
), found as (
    select l.* from listed l
    where ($1 is null or l.role_name = $1)
        and ($2 is null or $2 = (l.revoked_at is not null))
        and ($3 is null or l.place > (select a.place from listed a where a.token_id = $3))
    order by l.place
    -- One more than is shown says whether there is a next page.
    limit $4 + 1
), shown as (
    select f.* from found f order by f.place limit $4
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
-- No row: there is no such token to go on after.
where $3 is null or exists (select from listed a where a.token_id = $3)
