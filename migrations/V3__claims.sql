-- Claims that SQL text cannot forge: the gateway signs, this verifies.
-- docs/adr/0003-forge-proof-claims.md says why it looks like this.

create table rolegate.claim_key (
    key_id integer generated always as identity primary key,
    key bytea not null check (pg_catalog.length(key) = 32),
    -- The key, padded to a block and xored as HMAC wants it, so that a check is two hashes.
    inner_pad bytea not null check (pg_catalog.length(inner_pad) = 64),
    outer_pad bytea not null check (pg_catalog.length(outer_pad) = 64),
    created_at timestamptz not null default pg_catalog.now(),
    -- NULL: signs and verifies. A time: verifies until then.
    verify_until timestamptz
);

create trigger advance_epoch after insert or update or delete or truncate on rolegate.claim_key
    for each statement execute function rolegate.advance_epoch();

-- The result in bytes of `key` padded with zeros to 64 bytes and xored with `pad`.
create function rolegate.hmac_pad(key bytea, pad integer) returns bytea
language plpgsql immutable strict security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    block bytea := key || pg_catalog.decode(pg_catalog.repeat('00', 64 - pg_catalog.length(key)), 'hex');
begin
    for i in 0..63 loop
        block := pg_catalog.set_byte(block, i, pg_catalog.get_byte(block, i) # pad);
    end loop;
    return block;
end
$$;
revoke execute on function rolegate.hmac_pad(bytea, integer) from public;

-- 256 random bits. A v4 UUID has 122 of them from the strong generator; three have enough.
create function rolegate.random_bytes() returns bytea
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select pg_catalog.sha256(
        pg_catalog.uuid_send(pg_catalog.gen_random_uuid())
        || pg_catalog.uuid_send(pg_catalog.gen_random_uuid())
        || pg_catalog.uuid_send(pg_catalog.gen_random_uuid()))
$$;
revoke execute on function rolegate.random_bytes() from public;

create function rolegate.add_claim_key() returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    new_key bytea := rolegate.random_bytes();
    new_id integer;
begin
    insert into rolegate.claim_key (key, inner_pad, outer_pad)
    values (new_key, rolegate.hmac_pad(new_key, 54), rolegate.hmac_pad(new_key, 92))
    returning claim_key.key_id into strict new_id;
    return new_id;
end
$$;
revoke execute on function rolegate.add_claim_key() from public;

create function rolegate.claim_signing_key() returns table (key_id integer, key bytea)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
begin
    if not exists (select from rolegate.claim_key k where k.verify_until is null) then
        -- Two processes that start together must end with one key.
        lock table rolegate.claim_key in share row exclusive mode;
        if not exists (select from rolegate.claim_key k where k.verify_until is null) then
            perform rolegate.add_claim_key();
        end if;
    end if;
    return query
        select k.key_id, k.key from rolegate.claim_key k
        where k.verify_until is null
        order by k.key_id desc limit 1;
end
$$;
revoke execute on function rolegate.claim_signing_key() from public;
grant execute on function rolegate.claim_signing_key() to rolegate_gateway, rolegate_worker;

create function rolegate.rotate_claim_key() returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    lock table rolegate.claim_key in share row exclusive mode;
    delete from rolegate.claim_key k where k.verify_until < pg_catalog.now();
    -- Long enough for every process to fetch the new key and for running calls to end.
    update rolegate.claim_key k set verify_until = pg_catalog.now() + interval '10 minutes'
    where k.verify_until is null;
    return rolegate.add_claim_key();
end
$$;
revoke execute on function rolegate.rotate_claim_key() from public;
grant execute on function rolegate.rotate_claim_key() to rolegate_operator, rolegate_maintenance;

-- Parallel restricted: in a worker the pid is another one. No exception block: a subtransaction
-- cannot start while a parallel plan runs. One RAISE, so that its context line tells nothing.
create function rolegate.claims() returns jsonb
language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    envelope constant text := pg_catalog.current_setting('rolegate.signed_claims', true);
    actor_oid text;
    head_length integer;
    mac text;
    signed_text text;
    issued_at text;
    verified boolean;
begin
    if envelope is null or envelope = '' then
        return null;
    end if;

    actor_oid := pg_catalog.to_regrole(pg_catalog.quote_ident(
        coalesce(nullif(pg_catalog.current_setting('role'), 'none'), session_user)))::oid::text;
    issued_at := pg_catalog.split_part(envelope, '|', 4);
    mac := pg_catalog.split_part(envelope, '|', 6);
    -- `v1|key id|role oid|issued at|nonce`
    head_length := 6 + pg_catalog.length(pg_catalog.split_part(envelope, '|', 2))
        + pg_catalog.length(pg_catalog.split_part(envelope, '|', 3))
        + pg_catalog.length(issued_at)
        + pg_catalog.length(pg_catalog.split_part(envelope, '|', 5));
    -- What follows the database OID, pid and server start in the signed text: the envelope
    -- without its MAC, exactly as it stands there.
    signed_text := pg_catalog.left(envelope, head_length)
        || pg_catalog.substr(envelope, head_length + 2 + pg_catalog.length(mac));

    select pg_catalog.split_part(envelope, '|', 1) = 'v1'
        and pg_catalog.split_part(envelope, '|', 3) = actor_oid
        and pg_catalog.abs(
            case when issued_at ~ '^[0-9]{1,18}$' then issued_at::bigint end
            - (extract(epoch from pg_catalog.transaction_timestamp()) * 1000000)::bigint
        ) <= 10000000
        -- Hashes of both sides are compared, so that the time it takes tells nothing about
        -- how much of a guessed MAC is right.
        and pg_catalog.sha256(pg_catalog.convert_to(mac, 'UTF8'))
            = pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.encode(
                pg_catalog.sha256(k.outer_pad || pg_catalog.sha256(
                    k.inner_pad || pg_catalog.convert_to(
                        d.oid::text || '|' || pg_catalog.pg_backend_pid()::text || '|'
                        || (extract(epoch from pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint::text
                        || '|' || signed_text, 'UTF8'))), 'hex'), 'UTF8'))
    into verified
    from rolegate.claim_key k, pg_catalog.pg_database d
    where k.key_id::text = pg_catalog.split_part(envelope, '|', 2)
        and (k.verify_until is null or k.verify_until > pg_catalog.transaction_timestamp())
        and d.datname = pg_catalog.current_database();

    if verified is not true then
        raise exception using
            errcode = 'invalid_authorization_specification',
            message = 'the signed claims do not verify';
    end if;
    return pg_catalog.substr(envelope, head_length + 4 + pg_catalog.length(mac)
        + pg_catalog.length(pg_catalog.split_part(envelope, '|', 7)))::jsonb;
end
$$;
revoke execute on function rolegate.claims() from public;
-- One of the two functions everybody may call; it shows a caller nothing but his own claims.
grant execute on function rolegate.claims() to public;

create function rolegate.claim(name text) returns text
language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    return rolegate.claims() ->> name;
end
$$;
revoke execute on function rolegate.claim(text) from public;
grant execute on function rolegate.claim(text) to public;
