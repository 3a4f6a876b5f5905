-- Tokens by pages: a page costs what is on it, however many tokens there are.

create index api_token_newest on rolegate.api_token (created_at desc, token_id);
create index api_token_newest_of_role on rolegate.api_token (role_name, created_at desc, token_id);

-- The tokens after `after_token` (or from the first one on), newest first, `page_size` of them at
-- most; of one role, and only revoked ones or only others, if that is asked for.
create function rolegate.page_api_tokens(
    only_role text default null,
    only_revoked boolean default null,
    after_token uuid default null,
    page_size integer default 50
) returns table (
    token_id uuid, role_name text, description text, scopes jsonb, created_at timestamptz,
    created_by text, expires_at timestamptz, last_used_at timestamptz, revoked_at timestamptz,
    revoked_by text, role_replaced boolean
)
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    -- Later than any token, where the page is the first one.
    before timestamptz := 'infinity';
begin
    if after_token is not null then
        select t.created_at into before from rolegate.api_token t where t.token_id = after_token;
        if not found then
            raise exception using
                errcode = 'no_data_found',
                message = 'there is no such token to go on after';
        end if;
    end if;
    return query
        with page as (
            -- Two queries, so that each has its index; the condition is known before either runs.
            (
                select t.* from rolegate.api_token t
                where only_role is null
                    and (only_revoked is null or only_revoked = (t.revoked_at is not null))
                    and t.created_at <= before
                    and (after_token is null or t.created_at < before or t.token_id > after_token)
                order by t.created_at desc, t.token_id
                limit page_size
            )
            union all
            (
                select t.* from rolegate.api_token t
                where t.role_name = only_role::name
                    and (only_revoked is null or only_revoked = (t.revoked_at is not null))
                    and t.created_at <= before
                    and (after_token is null or t.created_at < before or t.token_id > after_token)
                order by t.created_at desc, t.token_id
                limit page_size
            )
        )
        select p.token_id, p.role_name::text, p.description, p.scopes, p.created_at,
            p.created_by::text, p.expires_at, p.last_used_at, p.revoked_at, p.revoked_by::text,
            not exists (
                select from pg_catalog.pg_roles r
                where r.oid = p.role_oid and r.rolname = p.role_name)
        from page p
        order by p.created_at desc, p.token_id;
end
$$;
revoke execute on function rolegate.page_api_tokens(text, boolean, uuid, integer) from public;
grant execute on function rolegate.page_api_tokens(text, boolean, uuid, integer)
    to rolegate_operator, rolegate_viewer;
