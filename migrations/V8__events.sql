-- Events with authorized channels. NOTIFY has no permissions in PostgreSQL, so it carries
-- nothing: it only says that there may be something to read.

create table rolegate.channel (
    name text primary key check (name <> '' and pg_catalog.length(name) <= 200),
    -- `schema.name`, quoted; a function without arguments. Text, because an OID means nothing
    -- after a restore.
    check_function text not null
);

create trigger advance_epoch after insert or update or delete or truncate on rolegate.channel
    for each statement execute function rolegate.advance_epoch();

-- Ids are taken before their transaction commits, so a lower one can appear after a higher one has
-- been read. Readers therefore stop at the last settled id (below).
create table rolegate.event (
    id bigint generated always as identity primary key,
    xid xid8 not null default pg_catalog.pg_current_xact_id(),
    channel text not null,
    payload jsonb,
    created_at timestamptz not null default pg_catalog.now()
);
-- Asked by emit(): has this transaction emitted before?
create index event_xid on rolegate.event (xid);

-- The last event that was pruned: a cursor before it cannot be resumed completely.
create table rolegate.event_pruned (
    only_row boolean primary key default true check (only_row),
    id bigint not null default 0
);
insert into rolegate.event_pruned default values;

-- The advisory lock that says: a transaction may still commit events with ids above `id`. The upper
-- 24 bits are ours, the lower 40 the id.
create function rolegate.event_lock_key(id bigint) returns bigint
language sql immutable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select (x'524745'::bigint << 40) + id $$;
revoke execute on function rolegate.event_lock_key(bigint) from public;

-- The highest id that was given out.
create function rolegate.last_event_id() returns bigint
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select case when s.is_called then s.last_value else 0 end from rolegate.event_id_seq s $$;
revoke execute on function rolegate.last_event_id() from public;

-- No transaction that runs now can commit an event with this id or a lower one, unless a new
-- snapshot sees it already. Only transactions that emit are waited for; the snapshot's xmin would
-- wait for every transaction of the cluster.
--
-- Why it holds: an emitter locks first and takes its id then. So whoever has an id up to the first
-- reading had the lock before it. At the second reading he holds it, and bounds the result; or he has
-- ended, and locks are released only after the commit is visible.
create function rolegate.settled_event_id() returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    given_out bigint;
    in_flight bigint;
begin
    if pg_catalog.current_setting('transaction_isolation') <> 'read committed' then
        raise exception using
            errcode = 'active_sql_transaction',
            message = 'events are read in read committed: an older snapshot could miss some';
    end if;
    given_out := rolegate.last_event_id();
    select pg_catalog.min((l.classid::bigint << 32) + l.objid::bigint) - rolegate.event_lock_key(0)
    into in_flight
    from pg_catalog.pg_locks l
    where l.locktype = 'advisory' and l.objsubid = 1
        and l.database = (
            select d.oid from pg_catalog.pg_database d
            where d.datname = pg_catalog.current_database())
        and (l.classid::bigint << 32) + l.objid::bigint
            between rolegate.event_lock_key(0) and rolegate.event_lock_key(x'ffffffffff'::bigint);
    return least(given_out, in_flight);
end
$$;
revoke execute on function rolegate.settled_event_id() from public;

create function rolegate.channel(name text, check_function regprocedure) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    qualified text;
begin
    select pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(p.proname)
    into qualified
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where p.oid = channel.check_function and p.prokind = 'f' and p.pronargs = 0
        and p.prorettype = 'pg_catalog.bool'::pg_catalog.regtype and not p.proretset;
    if qualified is null then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'a check function takes no arguments and returns boolean';
    end if;
    insert into rolegate.channel as c values (channel.name, qualified)
    on conflict (name) do update set check_function = excluded.check_function;
end
$$;
revoke execute on function rolegate.channel(text, regprocedure) from public;
grant execute on function rolegate.channel(text, regprocedure) to rolegate_operator;

-- `select rolegate.channel('orders', 'app.may_watch_orders')`. Looked up in the catalog and not by
-- a cast: a cast would ask whether the owner of this function may use the schema.
create function rolegate.channel(name text, check_function text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    parts text[] := pg_catalog.parse_ident(
        pg_catalog.regexp_replace(check_function, '\(\s*\)\s*$', ''));
    found_function regprocedure;
begin
    select p.oid into found_function
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where pg_catalog.cardinality(parts) = 2 and n.nspname = parts[1] and p.proname = parts[2]
        and p.pronargs = 0;
    if found_function is null then
        raise exception using
            errcode = 'undefined_function',
            message = pg_catalog.format('there is no function %s without arguments', check_function),
            hint = 'Name it as schema.function.';
    end if;
    perform rolegate.channel(channel.name, found_function);
end
$$;
revoke execute on function rolegate.channel(text, text) from public;
grant execute on function rolegate.channel(text, text) to rolegate_operator;

create function rolegate.drop_channel(name text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    delete from rolegate.channel c where c.name = drop_channel.name;
    return found;
end
$$;
revoke execute on function rolegate.drop_channel(text) from public;
grant execute on function rolegate.drop_channel(text) to rolegate_operator;

create function rolegate.channels() returns table (name text, check_function text)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select c.name, c.check_function from rolegate.channel c order by c.name $$;
revoke execute on function rolegate.channels() from public;
grant execute on function rolegate.channels() to rolegate_gateway;

-- Granted to nobody: whoever may call it may forge events on every channel. An application
-- grants it to the owner of the definer functions and triggers that emit.
create function rolegate.emit(channel text, payload jsonb) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    new_id bigint;
begin
    if not exists (select from rolegate.channel c where c.name = emit.channel) then
        raise exception using
            errcode = 'undefined_object',
            message = pg_catalog.format('there is no channel %L', emit.channel),
            hint = 'Declare it with rolegate.channel(name, check_function).';
    end if;
    -- Once in a transaction, or a bulk of events would fill the lock table. A savepoint that is
    -- rolled back takes the row and the lock with it.
    if not exists (
        select from rolegate.event e where e.xid = pg_catalog.pg_current_xact_id()
    ) then
        perform pg_catalog.pg_advisory_xact_lock_shared(
            rolegate.event_lock_key(rolegate.last_event_id()));
    end if;
    insert into rolegate.event as e (channel, payload) values (emit.channel, emit.payload)
    returning e.id into strict new_id;
    -- PostgreSQL folds equal notifications of one transaction into one.
    perform pg_catalog.pg_notify('rolegate_events', '');
    return new_id;
end
$$;
revoke execute on function rolegate.emit(text, jsonb) from public;

-- A cursor is an id in decimal. NULL reads from the beginning.
create function rolegate.read_events(channels text[], after_cursor text, max_rows integer)
returns table (cursor text, channel text, payload text, created_at timestamptz)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    settled bigint;
begin
    if after_cursor !~ '^[0-9]{1,18}$' then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'an event cursor is a decimal number';
    end if;
    settled := rolegate.settled_event_id();
    -- A statement of its own, and so a snapshot taken after the line above.
    return query
        select e.id::text, e.channel, e.payload::text, e.created_at
        from rolegate.event e
        where e.id > coalesce(after_cursor, '0')::bigint
            and e.id <= settled
            and e.channel = any (channels)
        order by e.id
        limit max_rows;
end
$$;
revoke execute on function rolegate.read_events(text[], text, integer) from public;
grant execute on function rolegate.read_events(text[], text, integer) to rolegate_gateway;

-- oldest: resuming from this cursor or a later one misses nothing.
-- newest: reading from here on gives only what was not yet readable now.
create function rolegate.event_horizon() returns table (oldest text, newest text)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    settled constant bigint := rolegate.settled_event_id();
begin
    return query select p.id::text, greatest(p.id, settled)::text from rolegate.event_pruned p;
end
$$;
revoke execute on function rolegate.event_horizon() from public;
grant execute on function rolegate.event_horizon() to rolegate_gateway;

create function rolegate.event_prune(keep interval, max_rows integer) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    settled constant bigint := rolegate.settled_event_id();
    deleted integer;
    last_id bigint;
begin
    -- What is idle writes nothing, and the lock below would.
    if (
        select d.created_at < pg_catalog.now() - keep and d.id <= settled
        from rolegate.event d order by d.id limit 1
    ) is not true then
        return 0;
    end if;
    -- One at a time; the row is also where the result goes.
    perform from rolegate.event_pruned p for update;
    with gone as (
        delete from rolegate.event e
        where e.id in (
            select d.id from rolegate.event d
            where d.created_at < pg_catalog.now() - keep and d.id <= settled
            order by d.id limit max_rows)
        returning e.id
    )
    select pg_catalog.count(*), pg_catalog.max(g.id) into deleted, last_id from gone g;
    update rolegate.event_pruned p set id = last_id where p.id < last_id;
    return deleted;
end
$$;
revoke execute on function rolegate.event_prune(interval, integer) from public;
grant execute on function rolegate.event_prune(interval, integer) to rolegate_gateway, rolegate_maintenance;
