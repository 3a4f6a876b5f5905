-- Which claims of a request its jobs keep. They are there for as long as the jobs are, so what is about one login,
-- or about the person and not about what it may do, does not belong there; and each value more is a principal more.

-- NULL: the usual rule of kept_claims().
alter table rolegate.job_setting add column kept_claims text[];

-- Part of the principal of a job. Never raises, and never adds anything.
create function rolegate.kept_claims(claims jsonb) returns jsonb
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select case
        when s.kept_claims is null then claims - array[
            -- The token's own.
            'exp', 'iat', 'nbf', 'jti', 'aud', 'azp',
            -- Of one login.
            'sid', 'session_state', 'nonce', 'auth_time', 'at_hash', 'c_hash', 's_hash', 'acr', 'amr', 'uti', 'rh',
            'aio',
            -- The standard claims of OpenID Connect about a person; `sub` says who it is.
            'name', 'given_name', 'family_name', 'middle_name', 'nickname', 'preferred_username', 'profile',
            'picture', 'website', 'email', 'email_verified', 'gender', 'birthdate', 'zoneinfo', 'locale',
            'phone_number', 'phone_number_verified', 'address', 'updated_at']
        else coalesce(
            (
                select pg_catalog.jsonb_object_agg(c.key, c.value)
                from pg_catalog.jsonb_each(claims) c where c.key = any (s.kept_claims)
            ),
            case when claims is not null then '{}'::jsonb end)
    end
    from rolegate.job_setting s
$$;
revoke execute on function rolegate.kept_claims(jsonb) from public;

-- The token of a principal, if it is an API token, which may be revoked. The `jti` of any other is one of many, and
-- nothing is decided by it.
create function rolegate.kept_token(token text) returns text
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select t.token_id::text from rolegate.api_token t
    where t.token_id = case
        when token ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then token::uuid
    end
$$;
revoke execute on function rolegate.kept_token(text) from public;

-- These claims and no others are kept with jobs that are enqueued from now on; NULL: the usual rule.
create function rolegate.set_job_claims(names text[]) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    if names is not null and (
        pg_catalog.cardinality(names) > 100 or coalesce(pg_catalog.array_ndims(names), 1) > 1
        or exists (
            select from pg_catalog.unnest(names) n
            where (pg_catalog.length(n) between 1 and 200) is not true))
    then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'names are at most 100 names of claims, of 1 to 200 characters';
    end if;
    update rolegate.job_setting s set kept_claims = names;
end
$$;
revoke execute on function rolegate.set_job_claims(text[]) from public;
grant execute on function rolegate.set_job_claims(text[]) to rolegate_operator;

-- NULL: the usual rule.
create function rolegate.job_claims() returns text[]
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select s.kept_claims from rolegate.job_setting s $$;
revoke execute on function rolegate.job_claims() from public;
grant execute on function rolegate.job_claims() to rolegate_viewer, rolegate_operator;
