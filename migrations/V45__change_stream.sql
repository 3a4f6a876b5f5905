-- The change stream: who reads it, how far, and what its positions are positions in.

-- One row, which is there from the beginning. It is written when somebody begins to read, when the epoch changes,
-- and every few seconds while there are commits; what is idle writes nothing.
create table rolegate.change_stream (
    only_row boolean primary key default true check (only_row),
    -- What the epoch is a digest of. The secret part makes it unlike that of every other database, also of
    -- those that were made from this one by a dump and came to the same numbers.
    system_identifier text not null default '',
    timeline bigint not null default 0,
    -- Slots there have been.
    generation bigint not null default 0,
    -- Epochs that began while the slot stayed.
    counter bigint not null default 0,
    nonce uuid not null default pg_catalog.gen_random_uuid(),
    epoch text,
    reason text,
    began_at timestamptz,
    -- Everything that was committed up to here has been read. The slot never confirms more than this.
    position pg_lsn not null default '0/0',
    -- Readers there have been, and the last one.
    term bigint not null default 0,
    reader text,
    pid integer,
    since timestamptz
);
insert into rolegate.change_stream default values;

create function rolegate.change_stream_lock_key() returns bigint
language sql immutable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select rolegate.maintenance_lock_key() + 2 $$;
revoke execute on function rolegate.change_stream_lock_key() from public;

-- Whether the session `of_pid` is that of the reader.
create function rolegate.reads_change_stream(of_pid integer) returns boolean
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select exists (
        select from pg_catalog.pg_locks k
        where k.locktype = 'advisory' and k.granted and k.objsubid = 1 and k.pid = of_pid
            and k.classid::bigint = rolegate.change_stream_lock_key() >> 32
            and k.objid::bigint = rolegate.change_stream_lock_key() & x'ffffffff'::bigint
            and k.database = (
                select d.oid from pg_catalog.pg_database d
                where d.datname = pg_catalog.current_database()))
$$;
revoke execute on function rolegate.reads_change_stream(integer) from public;

-- Makes this session the reader's, until it ends. False: another one reads.
create function rolegate.lead_change_stream() returns boolean
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select pg_catalog.pg_try_advisory_lock(rolegate.change_stream_lock_key()) $$;
revoke execute on function rolegate.lead_change_stream() from public;
grant execute on function rolegate.lead_change_stream() to rolegate_replicator;

create function rolegate.require_change_reader() returns void
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    if not rolegate.reads_change_stream(pg_catalog.pg_backend_pid()) then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = 'this session does not read the change stream',
            hint = 'lead_change_stream() makes it the reader, if there is no other.';
    end if;
end
$$;
revoke execute on function rolegate.require_change_reader() from public;

-- A new epoch: nothing that was known under the one before may be used any more.
create function rolegate.change_epoch(reason text) returns text
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    update rolegate.change_stream s
    set reason = change_epoch.reason, began_at = pg_catalog.clock_timestamp(),
        epoch = pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to(
            pg_catalog.concat_ws(' ', s.system_identifier, s.timeline, s.generation, s.counter, s.nonce),
            'UTF8')), 1, 8), 'hex')
    returning s.epoch
$$;
revoke execute on function rolegate.change_epoch(text) from public;

-- The reader begins. With `fresh_at` the slot is a new one from that position on, for this reason, and so is the
-- epoch. `former_term` is that of the reader before: whoever was that himself has missed nothing.
create function rolegate.begin_change_stream(
    reader text, system_identifier text, timeline bigint, fresh_at pg_lsn default null,
    fresh_reason text default null,
    out epoch text, out "position" pg_lsn, out former_term bigint, out term bigint
)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    known rolegate.change_stream;
begin
    perform rolegate.require_change_reader();
    select s.* into strict known from rolegate.change_stream s for update;
    if fresh_at is null and (known.epoch is null
        or known.system_identifier is distinct from begin_change_stream.system_identifier
        or known.timeline is distinct from begin_change_stream.timeline)
    then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = 'the slot belongs to another history of the database';
    end if;
    update rolegate.change_stream s
    set term = s.term + 1, reader = begin_change_stream.reader, pid = pg_catalog.pg_backend_pid(),
        since = pg_catalog.clock_timestamp();
    if fresh_at is not null then
        update rolegate.change_stream s
        set system_identifier = begin_change_stream.system_identifier,
            timeline = begin_change_stream.timeline, generation = s.generation + 1, counter = 0,
            nonce = pg_catalog.gen_random_uuid(), position = fresh_at;
        perform rolegate.change_epoch(coalesce(fresh_reason, 'a new slot'));
    end if;
    select s.epoch, s.position, known.term, s.term
    into strict epoch, "position", former_term, term
    from rolegate.change_stream s;
end
$$;
revoke execute on function rolegate.begin_change_stream(text, text, bigint, pg_lsn, text) from public;
grant execute on function rolegate.begin_change_stream(text, text, bigint, pg_lsn, text)
    to rolegate_replicator;

-- Everything up to here has been read.
create function rolegate.note_change_position("position" pg_lsn) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    perform rolegate.require_change_reader();
    update rolegate.change_stream s
    set position = note_change_position."position"
    where s.position < note_change_position."position";
end
$$;
revoke execute on function rolegate.note_change_position(pg_lsn) from public;
grant execute on function rolegate.note_change_position(pg_lsn) to rolegate_replicator;

-- Writes what the reader comes to at once: for whoever waits for a position that nothing would be flushed up to.
create function rolegate.wake_change_stream() returns void
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select pg_catalog.pg_logical_emit_message(true, 'rolegate', 'waiter') $$;
revoke execute on function rolegate.wake_change_stream() from public;
grant execute on function rolegate.wake_change_stream() to rolegate_replicator;

-- Begins a new epoch while the slot stays. The reader comes to it where it was committed.
create function rolegate.renew_change_epoch(reason text default 'asked for') returns text
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    renewed text;
begin
    if pg_catalog.length(reason) > 200 then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'reason has at most 200 characters';
    end if;
    update rolegate.change_stream s set counter = s.counter + 1 where s.epoch is not null;
    if not found then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = 'there is no change stream in this database',
            hint = 'The surface "replication" makes it.';
    end if;
    renewed := rolegate.change_epoch(reason);
    perform pg_catalog.pg_logical_emit_message(true, 'rolegate', 'epoch ' || renewed);
    return renewed;
end
$$;
revoke execute on function rolegate.renew_change_epoch(text) from public;
grant execute on function rolegate.renew_change_epoch(text) to rolegate_operator;

-- The epoch, and whether anybody reads. NULL: there never was a stream.
create function rolegate.change_stream_state(
    out epoch text, out reason text, out began_at timestamptz, out "position" pg_lsn, out reader text,
    out since timestamptz, out reads boolean
)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select s.epoch, s.reason, s.began_at, s.position, s.reader, s.since,
        rolegate.reads_change_stream(s.pid)
    from rolegate.change_stream s
$$;
revoke execute on function rolegate.change_stream_state() from public;
grant execute on function rolegate.change_stream_state()
    to rolegate_gateway, rolegate_worker, rolegate_receiver, rolegate_maintenance, rolegate_console,
    rolegate_replicator, rolegate_operator, rolegate_viewer;

-- Why a table can't be published; NULL: it can. A published table without a usable replica identity takes no
-- updates and deletes any more. Generated columns in it are not published, which 18 refuses.
create function rolegate.unpublishable(relation oid) returns text
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select case
        when c.relkind <> 'r' then 'it is no ordinary table'
        when c.relpersistence = 'u' then 'it is unlogged'
        when c.relpersistence <> 'p' then 'it is temporary'
        when c.relreplident = 'n' then 'its replica identity is NOTHING'
        when c.relreplident = 'd' and i.indexrelid is null then 'it has no primary key'
        when c.relreplident = 'i' and i.indexrelid is null
            then 'the index of its replica identity is gone'
        when c.relreplident <> 'f' and not (i.indisvalid and i.indimmediate)
            then 'the index of its replica identity is deferrable or not valid'
        when exists (
            select from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attgenerated <> '' and not a.attisdropped
                and (c.relreplident = 'f' or a.attnum = any (i.indkey::smallint[]))
        ) then 'its replica identity has generated columns'
    end
    from pg_catalog.pg_class c
    left join pg_catalog.pg_index i on i.indrelid = c.oid
        and case c.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end
    where c.oid = relation
$$;
revoke execute on function rolegate.unpublishable(oid) from public;
grant execute on function rolegate.unpublishable(oid) to rolegate_operator, rolegate_viewer;

-- Takes out of the publication what can't be published any more, in the transaction that made it so: the updates
-- of whoever owns the table must not fail for us. If that can't be done, the publication goes.
create function rolegate.unpublish() returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    lost pg_catalog.regclass;
begin
    for lost in
        select p.prrelid
        from pg_catalog.pg_publication b
        join pg_catalog.pg_publication_rel p on p.prpubid = b.oid
        where b.pubname = 'rolegate' and b.pubowner = current_user::pg_catalog.regrole
            and rolegate.unpublishable(p.prrelid) is not null
    loop
        begin
            execute pg_catalog.format('alter publication %I drop table %s', 'rolegate', lost);
        exception when others then
            execute pg_catalog.format('drop publication %I', 'rolegate');
            raise warning using
                message = 'there is no publication any more, and with it no change stream',
                detail = pg_catalog.format('%s could not be taken out of it: %s', lost, sqlerrm),
                hint = 'The command "replication sync" makes it again.';
            return;
        end;
        raise warning using
            message = pg_catalog.format('%s is not published any more', lost),
            detail = pg_catalog.format('In the change stream it is left out: %s.', rolegate.unpublishable(lost)),
            hint = 'With a replica identity the command "replication sync" puts it in again.';
    end loop;
end
$$;
revoke execute on function rolegate.unpublish() from public;

-- Says in the stream that definitions of these relations changed; NULL among them: of something else.
create function rolegate.note_definitions(relations oid[]) returns void
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    with recursive known (oid) as (
        select r.oid from pg_catalog.unnest(relations) r (oid) where r.oid is not null
        union
        select i.inhparent from known k join pg_catalog.pg_inherits i on i.inhrelid = k.oid
    )
    select pg_catalog.pg_logical_emit_message(true, 'rolegate', 'ddl ' || case
        when pg_catalog.array_position(relations, null) is not null or pg_catalog.count(*) > 500 then '*'
        else pg_catalog.string_agg(k.oid::text, ' ' order by k.oid) end)
    from known k
    having pg_catalog.cardinality(relations) > 0
$$;
revoke execute on function rolegate.note_definitions(oid[]) from public;

-- At the end of a command. The event triggers' own functions belong to a role that nobody can become
-- (`crates/roles/src/sql/bootstrap.sql`): whoever could change those would change what superusers run.
create function rolegate.note_changed_definitions() returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    perform rolegate.note_definitions(pg_catalog.array_agg(distinct case c.classid
        when 'pg_catalog.pg_class'::pg_catalog.regclass then coalesce(
            (select i.indrelid from pg_catalog.pg_index i where i.indexrelid = c.objid), c.objid)
        when 'pg_catalog.pg_policy'::pg_catalog.regclass
            then (select p.polrelid from pg_catalog.pg_policy p where p.oid = c.objid)
        when 'pg_catalog.pg_trigger'::pg_catalog.regclass
            then (select t.tgrelid from pg_catalog.pg_trigger t where t.oid = c.objid)
        when 'pg_catalog.pg_rewrite'::pg_catalog.regclass
            then (select r.ev_class from pg_catalog.pg_rewrite r where r.oid = c.objid)
        when 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass
            then (select e.stxrelid from pg_catalog.pg_statistic_ext e where e.oid = c.objid)
        when 'pg_catalog.pg_publication_rel'::pg_catalog.regclass
            then (select p.prrelid from pg_catalog.pg_publication_rel p where p.oid = c.objid)
    end))
    from pg_catalog.pg_event_trigger_ddl_commands() c
    where c.schema_name is distinct from 'pg_temp';
    perform rolegate.unpublish();
end
$$;
revoke execute on function rolegate.note_changed_definitions() from public;
grant execute on function rolegate.note_changed_definitions() to rolegate_publisher;

-- When something is dropped. What hangs on a relation is named after it.
create function rolegate.note_dropped_definitions() returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    perform rolegate.note_definitions(
        -- What hung on a relation that is dropped, too, is told with it.
        pg_catalog.array_agg(distinct x.relation) filter (where x.relation is not null or not x.hangs))
    from (
        select
            case when d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass then d.objid else (
                select c.oid from pg_catalog.pg_class c
                join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                where k.hangs and n.nspname = d.address_names[1] and c.relname = d.address_names[2]
            ) end as relation,
            k.hangs
        from pg_catalog.pg_event_trigger_dropped_objects() d
        cross join lateral (
            select d.classid = any (array['pg_catalog.pg_policy', 'pg_catalog.pg_trigger',
                'pg_catalog.pg_rewrite', 'pg_catalog.pg_constraint', 'pg_catalog.pg_attrdef',
                'pg_catalog.pg_publication_rel']::pg_catalog.regclass[]) as hangs
        ) k
        -- Of what goes along with something else the name of the whole is enough.
        where not d.is_temporary
            and (d.original or d.normal or d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass)
    ) x;
end
$$;
revoke execute on function rolegate.note_dropped_definitions() from public;
grant execute on function rolegate.note_dropped_definitions() to rolegate_publisher;
