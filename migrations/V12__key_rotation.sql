-- A signing key of ours has three moments of its own: it is published (`created_at`), it signs from
-- then (`activated_at`), it signs until then (`retired_at`). Whoever verifies our tokens keeps our key
-- set for some minutes; a key that signs at once would be unknown to him. These moments are decided
-- here, under one lock and by one clock, so that all gateways of a database hand over together.

drop function rolegate.store_signing_key(text, text, jsonb, bytea);
drop function rolegate.signing_keys();

-- Publishes a key. It signs after ten minutes, or at once if nothing signs now; the one before it
-- signs until then and verifies for another day, which is the longest life of a token of ours.
-- With `only_if_wanted` it does nothing and says false if there is a key that is to stay: of several
-- gateways that miss one at the same time, one makes it.
create function rolegate.store_signing_key(
    kid text, algorithm text, public_jwk jsonb, sealed_private bytea,
    only_if_wanted boolean default false
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    published timestamptz;
    begins timestamptz;
begin
    lock table rolegate.signing_key in share row exclusive mode;
    -- Not the start of the transaction: it may have waited for the lock.
    published := pg_catalog.clock_timestamp();
    if only_if_wanted and exists (
        select from rolegate.signing_key k where k.retired_at is null
    ) then
        return false;
    end if;

    begins := published;
    if exists (
        select from rolegate.signing_key k
        where k.activated_at <= published and (k.retired_at is null or k.retired_at > published)
    ) then
        -- Twice as long as others may keep the key set: routes/well_known.rs in the server.
        begins := published + interval '10 minutes';
    end if;
    -- Not before one that still waits for its turn.
    begins := greatest(begins, (
        select max(k.activated_at) from rolegate.signing_key k
        where k.retired_at is null or k.retired_at > published));

    update rolegate.signing_key k set retired_at = begins
    where k.retired_at is null or k.retired_at > begins;
    insert into rolegate.signing_key
        (kid, algorithm, public_jwk, sealed_private, created_at, activated_at)
    values (
        store_signing_key.kid, store_signing_key.algorithm, store_signing_key.public_jwk,
        store_signing_key.sealed_private, published, begins);
    delete from rolegate.signing_key k where k.retired_at < published - interval '24 hours';
    return true;
end
$$;
revoke execute on function rolegate.store_signing_key(text, text, jsonb, bytea, boolean) from public;
grant execute on function rolegate.store_signing_key(text, text, jsonb, bytea, boolean)
    to rolegate_gateway, rolegate_console, rolegate_operator;

-- `active` is what a gateway of an earlier version looks at: with it, it publishes a new key and
-- signs with it at the same age.
create function rolegate.signing_keys() returns table (
    kid text, algorithm text, public_jwk text, sealed_private bytea, created_at timestamptz,
    active boolean, signs_from timestamptz, signs_until timestamptz
)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    -- The private part stays with a retired key: it is what proves that the row is ours and not
    -- planted by somebody who may write rows.
    select k.kid, k.algorithm, k.public_jwk::text, k.sealed_private, k.created_at,
        k.retired_at is null or k.retired_at > pg_catalog.clock_timestamp(),
        coalesce(k.activated_at, k.created_at), k.retired_at
    from rolegate.signing_key k
    where k.retired_at is null
        or k.retired_at > pg_catalog.clock_timestamp() - interval '24 hours'
    order by 7 desc, k.created_at desc
$$;
revoke execute on function rolegate.signing_keys() from public;
grant execute on function rolegate.signing_keys() to rolegate_gateway;

-- Only a gateway can make a key, because the private half is sealed with a key this database does not
-- have. This asks for one: a gateway that sees no key without an end publishes a successor at once,
-- which moves the end of the present one to the moment of the hand-over.
create function rolegate.rotate_signing_key() returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    lock table rolegate.signing_key in share row exclusive mode;
    update rolegate.signing_key k set retired_at = pg_catalog.clock_timestamp() + interval '1 hour'
    where k.retired_at is null;
end
$$;
revoke execute on function rolegate.rotate_signing_key() from public;
grant execute on function rolegate.rotate_signing_key() to rolegate_operator, rolegate_maintenance;

-- As before, but by the clock and not by the start of the transaction: one that had run for a while
-- left the processes less than the ten minutes, or none.
create or replace function rolegate.rotate_claim_key() returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    lock table rolegate.claim_key in share row exclusive mode;
    delete from rolegate.claim_key k where k.verify_until < pg_catalog.now();
    -- Long enough for every process to fetch the new key and for running calls to end.
    update rolegate.claim_key k set verify_until = pg_catalog.clock_timestamp() + interval '10 minutes'
    where k.verify_until is null;
    return rolegate.add_claim_key();
end
$$;
