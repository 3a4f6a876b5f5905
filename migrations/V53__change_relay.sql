-- Where the reader of the change stream passes it on to other processes.

-- One row, which says nothing once its reader reads no more. The secret is the last reader's and new in each of
-- its terms, so an old one, in a backup for instance, opens nothing.
create table rolegate.change_relay (
    only_row boolean primary key default true check (only_row),
    -- The term of the reader whose it is.
    term bigint not null,
    -- What is spoken there.
    protocol integer not null,
    address text not null check (pg_catalog.length(address) between 1 and 300),
    -- Whoever knows it may listen.
    secret bytea not null check (pg_catalog.octet_length(secret) = 32),
    -- SHA-256 of the public key that the other end must have.
    pin bytea not null check (pg_catalog.octet_length(pin) = 32)
);

-- Says where the reader passes on what it reads in this term.
create function rolegate.offer_change_relay(protocol integer, address text, secret bytea, pin bytea) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    perform rolegate.require_change_reader();
    insert into rolegate.change_relay (term, protocol, address, secret, pin)
    select s.term, offer_change_relay.protocol, offer_change_relay.address, offer_change_relay.secret,
        offer_change_relay.pin
    from rolegate.change_stream s
    -- Having the lock is not enough: another session's term has not ended before one has begun its own.
    where s.pid = pg_catalog.pg_backend_pid()
    on conflict (only_row) do update
    set term = excluded.term, protocol = excluded.protocol, address = excluded.address,
        secret = excluded.secret, pin = excluded.pin;
    if not found then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = 'this session has not begun to read the change stream';
    end if;
end
$$;
revoke execute on function rolegate.offer_change_relay(integer, text, bytea, bytea) from public;
grant execute on function rolegate.offer_change_relay(integer, text, bytea, bytea) to rolegate_replicator;

-- Where to hear the stream; no row if nobody reads, or whoever reads does not pass it on.
create function rolegate.change_relay()
returns table (term bigint, protocol integer, address text, secret bytea, pin bytea)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select r.term, r.protocol, r.address, r.secret, r.pin
    from rolegate.change_relay r
    join rolegate.change_stream s on s.term = r.term
    where rolegate.reads_change_stream(s.pid)
$$;
revoke execute on function rolegate.change_relay() from public;
grant execute on function rolegate.change_relay() to rolegate_gateway;

-- Another number whenever there may be another relay. Asked several times a second, so it is no more than that.
create function rolegate.change_relay_term() returns bigint
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select r.term from rolegate.change_relay r $$;
revoke execute on function rolegate.change_relay_term() from public;
grant execute on function rolegate.change_relay_term() to rolegate_gateway;

-- The same for people, without what opens it.
create function rolegate.change_relay_address() returns text
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select r.address from rolegate.change_relay() r $$;
revoke execute on function rolegate.change_relay_address() from public;
grant execute on function rolegate.change_relay_address() to rolegate_operator, rolegate_viewer;
