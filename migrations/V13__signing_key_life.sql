-- Rotation by age, and the way out for a key that somebody else knows.

drop function rolegate.rotate_signing_key();

-- Asks for a successor of the key that is to stay, and says whether it did: always, or only if the
-- key has signed for longer than that. Only a gateway can make a key, because the private half is
-- sealed with a key this database does not have: one that sees no key without an end publishes a
-- successor at once, which moves the end of the present one to the moment of the hand-over.
create function rolegate.rotate_signing_key(older_than interval default null) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    -- Of several gateways that notice the age at the same time, the later ones find no such key.
    ripe text;
begin
    -- Every gateway asks every half minute: without the lock first, and without an update of
    -- nothing, which would make all of them load everything again.
    if not exists (
        select from rolegate.signing_key k
        where k.retired_at is null and (older_than is null
            or k.activated_at <= pg_catalog.clock_timestamp() - older_than)
    ) then
        return false;
    end if;
    lock table rolegate.signing_key in share row exclusive mode;
    select k.kid into ripe from rolegate.signing_key k
    where k.retired_at is null and (older_than is null
        or k.activated_at <= pg_catalog.clock_timestamp() - older_than);
    if ripe is null then
        return false;
    end if;
    update rolegate.signing_key k set retired_at = pg_catalog.clock_timestamp() + interval '1 hour'
    where k.retired_at is null;
    return true;
end
$$;
revoke execute on function rolegate.rotate_signing_key(interval) from public;
grant execute on function rolegate.rotate_signing_key(interval)
    to rolegate_gateway, rolegate_operator, rolegate_maintenance;

-- For a key that somebody else knows: nothing that was signed so far is believed any more, and the
-- next key, which a running gateway makes, signs at once. All keys go: whoever came by one was where
-- the others are.
create function rolegate.revoke_signing_keys() returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    revoked integer;
begin
    lock table rolegate.signing_key in share row exclusive mode;
    delete from rolegate.signing_key k where true;
    get diagnostics revoked = row_count;
    return revoked;
end
$$;
revoke execute on function rolegate.revoke_signing_keys() from public;
grant execute on function rolegate.revoke_signing_keys() to rolegate_operator;
