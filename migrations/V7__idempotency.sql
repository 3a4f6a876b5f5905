-- A repeat of a call with the same key gets the first call's answer.

create table rolegate.idempotency (
    -- Digest of issuer, subject, role and function.
    scope bytea not null,
    key text not null check (pg_catalog.length(key) between 1 and 255),
    body_hash bytea not null,
    -- Hash of the attempt's secret; whoever has the secret may store the answer.
    capability_hash bytea not null unique,
    -- While it runs: when another attempt may take over. NULL once the answer is stored.
    lease_until timestamptz,
    expires_at timestamptz not null,
    status integer,
    headers text,
    body text,
    primary key (scope, key),
    check ((lease_until is null) = (status is not null))
);
create index idempotency_expires_at on rolegate.idempotency (expires_at);

-- new: the caller runs it. replay: here is the answer. running: another attempt does.
-- conflict: the key was used for another body.
create function rolegate.idempotency_claim(
    scope bytea, key text, body_hash bytea, capability_hash bytea, lease interval, ttl interval
) returns table (state text, status integer, headers text, body text)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    -- Not the transaction's time: waiting for another attempt's row lock takes time.
    moment timestamptz;
    existing rolegate.idempotency;
begin
    loop
        moment := pg_catalog.clock_timestamp();
        insert into rolegate.idempotency as i
            (scope, key, body_hash, capability_hash, lease_until, expires_at)
        values (
            idempotency_claim.scope, idempotency_claim.key, idempotency_claim.body_hash,
            idempotency_claim.capability_hash, moment + lease, moment + ttl)
        on conflict (scope, key) do update set
            body_hash = excluded.body_hash,
            capability_hash = excluded.capability_hash,
            lease_until = excluded.lease_until,
            expires_at = excluded.expires_at,
            status = null, headers = null, body = null
            where i.expires_at <= pg_catalog.clock_timestamp()
                or i.lease_until <= pg_catalog.clock_timestamp();
        if found then
            return query select 'new', null::integer, null::text, null::text;
            return;
        end if;

        select * into existing from rolegate.idempotency i
        where i.scope = idempotency_claim.scope and i.key = idempotency_claim.key;
        -- Released between the two statements: try again.
        continue when not found;

        return query select
            case
                when existing.body_hash <> idempotency_claim.body_hash then 'conflict'
                when existing.lease_until is not null then 'running'
                else 'replay'
            end,
            case when existing.body_hash = idempotency_claim.body_hash then existing.status end,
            case when existing.body_hash = idempotency_claim.body_hash then existing.headers end,
            case when existing.body_hash = idempotency_claim.body_hash then existing.body end;
        return;
    end loop;
end
$$;
revoke execute on function rolegate.idempotency_claim(bytea, text, bytea, bytea, interval, interval) from public;
grant execute on function rolegate.idempotency_claim(bytea, text, bytea, bytea, interval, interval)
    to rolegate_gateway;

-- Runs in the caller's own transaction, so that answer and effect commit together. An attempt
-- whose record was taken over has no row here, and its transaction fails: one effect, not two.
create function rolegate.idempotency_store(
    capability bytea, status integer, headers text, body text
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    update rolegate.idempotency i set
        status = idempotency_store.status,
        headers = idempotency_store.headers,
        body = idempotency_store.body,
        lease_until = null
    where i.capability_hash = pg_catalog.sha256(capability) and i.lease_until is not null;
    if not found then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = 'the idempotency record belongs to another attempt';
    end if;
end
$$;
revoke execute on function rolegate.idempotency_store(bytea, integer, text, text) from public;
grant execute on function rolegate.idempotency_store(bytea, integer, text, text) to rolegate_admitted;

create function rolegate.idempotency_release(capability bytea) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    delete from rolegate.idempotency i
    where i.capability_hash = pg_catalog.sha256(capability) and i.lease_until is not null;
    return found;
end
$$;
revoke execute on function rolegate.idempotency_release(bytea) from public;
grant execute on function rolegate.idempotency_release(bytea) to rolegate_gateway;

create function rolegate.idempotency_prune(max_rows integer) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    deleted integer;
begin
    delete from rolegate.idempotency i
    where (i.scope, i.key) in (
        select e.scope, e.key from rolegate.idempotency e
        where e.expires_at <= pg_catalog.clock_timestamp()
        order by e.expires_at limit max_rows
        for update skip locked);
    get diagnostics deleted = row_count;
    return deleted;
end
$$;
revoke execute on function rolegate.idempotency_prune(integer) from public;
grant execute on function rolegate.idempotency_prune(integer) to rolegate_gateway, rolegate_maintenance;
