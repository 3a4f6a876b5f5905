-- The keys of the JWTs we issue. The private halves come sealed by a key this database
-- does not have.

create table rolegate.signing_key (
    kid text primary key check (kid <> ''),
    algorithm text not null check (algorithm <> ''),
    public_jwk jsonb not null check (
        pg_catalog.jsonb_typeof(public_jwk) = 'object'
        -- `d` is the private half of every asymmetric key, `k` a symmetric key.
        and not public_jwk ?| array['d', 'k']),
    sealed_private bytea not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    activated_at timestamptz,
    retired_at timestamptz
);

create trigger advance_epoch after insert or update or delete or truncate on rolegate.signing_key
    for each statement execute function rolegate.advance_epoch();

-- Makes the key the one that signs; the one before it verifies for another day.
create function rolegate.store_signing_key(
    kid text, algorithm text, public_jwk jsonb, sealed_private bytea
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    lock table rolegate.signing_key in share row exclusive mode;
    update rolegate.signing_key k set retired_at = pg_catalog.clock_timestamp()
    where k.retired_at is null;
    insert into rolegate.signing_key (kid, algorithm, public_jwk, sealed_private, activated_at)
    values (
        store_signing_key.kid, store_signing_key.algorithm, store_signing_key.public_jwk,
        store_signing_key.sealed_private, pg_catalog.clock_timestamp());
    delete from rolegate.signing_key k
    where k.retired_at < pg_catalog.clock_timestamp() - interval '24 hours';
end
$$;
revoke execute on function rolegate.store_signing_key(text, text, jsonb, bytea) from public;
grant execute on function rolegate.store_signing_key(text, text, jsonb, bytea)
    to rolegate_gateway, rolegate_console, rolegate_operator;

create function rolegate.signing_keys() returns table (
    kid text, algorithm text, public_jwk text, sealed_private bytea, created_at timestamptz,
    active boolean
)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    -- The private part stays with a retired key: it is what proves that the row is ours and not
    -- planted by somebody who may write rows.
    select k.kid, k.algorithm, k.public_jwk::text, k.sealed_private,
        k.created_at, k.retired_at is null
    from rolegate.signing_key k
    where k.retired_at is null
        or k.retired_at > pg_catalog.clock_timestamp() - interval '24 hours'
    order by k.retired_at is null desc, k.created_at desc
$$;
revoke execute on function rolegate.signing_keys() from public;
grant execute on function rolegate.signing_keys() to rolegate_gateway;
