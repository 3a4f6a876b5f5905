-- API tokens: only their hashes are kept.

create table rolegate.api_token (
    token_id uuid primary key default pg_catalog.gen_random_uuid(),
    token_hash bytea not null unique check (pg_catalog.length(token_hash) = 32),
    role_name name not null,
    -- A role dropped and made again under the same name is another role.
    role_oid oid not null,
    description text not null default '',
    scopes jsonb check (pg_catalog.jsonb_typeof(scopes) = 'object'),
    created_at timestamptz not null default pg_catalog.now(),
    created_by name not null,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    revoked_by name
);

-- Not on `last_used_at`: using a token changes nothing that a cache holds.
create trigger advance_epoch
    after insert or delete or truncate
        or update of token_hash, role_name, role_oid, scopes, expires_at, revoked_at
    on rolegate.api_token
    for each statement execute function rolegate.advance_epoch();

create function rolegate.mint_api_token(
    target_role text,
    description text default '',
    expires_in interval default '90 days',
    never_expires boolean default false,
    scopes jsonb default null
) returns table (token_id uuid, token text, expires_at timestamptz)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    target oid := rolegate.require_target(target_role);
    body text := 'rg_' || pg_catalog.encode(rolegate.random_bytes(), 'hex');
    new_token text;
begin
    if not never_expires
        and (expires_in is null or pg_catalog.now() + expires_in <= pg_catalog.now())
    then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'a token expires in the future, or never_expires says that it does not';
    end if;
    -- Four bytes of a hash, so that a scanner and the gateway know a token without asking.
    new_token := body || pg_catalog.left(
        pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(body, 'UTF8')), 'hex'), 8);
    return query
        insert into rolegate.api_token as t
            (token_hash, role_name, role_oid, description, scopes, created_by, expires_at)
        values (
            pg_catalog.sha256(pg_catalog.convert_to(new_token, 'UTF8')),
            mint_api_token.target_role, target,
            coalesce(mint_api_token.description, ''), mint_api_token.scopes, rolegate.actor(),
            case when not never_expires then pg_catalog.now() + expires_in end)
        returning t.token_id, new_token, t.expires_at;
end
$$;
revoke execute on function rolegate.mint_api_token(text, text, interval, boolean, jsonb) from public;
grant execute on function rolegate.mint_api_token(text, text, interval, boolean, jsonb) to rolegate_operator;

-- For tokens that another product handed out: they keep working, we never see them.
create function rolegate.import_api_token(
    token_hash bytea, target_role text, description text, expires_at timestamptz
) returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    target oid := rolegate.require_target(target_role);
    new_id uuid;
begin
    insert into rolegate.api_token as t
        (token_hash, role_name, role_oid, description, created_by, expires_at)
    values (
        import_api_token.token_hash, import_api_token.target_role, target,
        coalesce(import_api_token.description, ''), rolegate.actor(), import_api_token.expires_at)
    returning t.token_id into strict new_id;
    return new_id;
end
$$;
revoke execute on function rolegate.import_api_token(bytea, text, text, timestamptz) from public;
grant execute on function rolegate.import_api_token(bytea, text, text, timestamptz) to rolegate_operator;

create function rolegate.list_api_tokens() returns table (
    token_id uuid, role_name text, description text, scopes jsonb, created_at timestamptz,
    created_by text, expires_at timestamptz, last_used_at timestamptz, revoked_at timestamptz,
    revoked_by text, role_replaced boolean
)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select t.token_id, t.role_name::text, t.description, t.scopes, t.created_at,
        t.created_by::text, t.expires_at, t.last_used_at, t.revoked_at, t.revoked_by::text,
        not exists (
            select from pg_catalog.pg_roles r where r.oid = t.role_oid and r.rolname = t.role_name)
    from rolegate.api_token t
    order by t.created_at desc, t.token_id
$$;
revoke execute on function rolegate.list_api_tokens() from public;
grant execute on function rolegate.list_api_tokens() to rolegate_operator, rolegate_viewer;

-- True if this call revoked it; false if there is no such token or it was revoked before.
create function rolegate.revoke_api_token(token_id uuid) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    update rolegate.api_token t
    set revoked_at = pg_catalog.now(), revoked_by = rolegate.actor()
    where t.token_id = revoke_api_token.token_id and t.revoked_at is null;
    return found;
end
$$;
revoke execute on function rolegate.revoke_api_token(uuid) from public;
grant execute on function rolegate.revoke_api_token(uuid) to rolegate_operator;

-- Takes the hash, never the token: bind parameters end up in server logs.
create function rolegate.find_api_token(token_hash bytea) returns table (
    token_id uuid, role_name text, role_oid oid, scopes text, created_at timestamptz,
    expires_at timestamptz, revoked boolean
)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select t.token_id, t.role_name::text, t.role_oid, t.scopes::text, t.created_at,
        t.expires_at, t.revoked_at is not null
    from rolegate.api_token t
    where t.token_hash = find_api_token.token_hash
$$;
revoke execute on function rolegate.find_api_token(bytea) from public;
grant execute on function rolegate.find_api_token(bytea) to rolegate_gateway;

create function rolegate.touch_api_tokens(token_ids uuid[]) returns void
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    update rolegate.api_token t set last_used_at = pg_catalog.now()
    where t.token_id in (
        -- Two processes touch the same tokens in any order; skipping a locked row loses
        -- nothing, because whoever holds the lock writes the same minute.
        select u.token_id from rolegate.api_token u
        where u.token_id = any (token_ids)
            and (u.last_used_at is null or u.last_used_at < pg_catalog.now() - interval '1 minute')
        for update skip locked)
$$;
revoke execute on function rolegate.touch_api_tokens(uuid[]) from public;
grant execute on function rolegate.touch_api_tokens(uuid[]) to rolegate_gateway;
