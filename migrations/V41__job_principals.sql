-- Principals that no job is of any more are removed. Nothing that enqueues has to know: it looks a
-- principal up by its digest and takes no lock. So one is retired first, by a digest that nobody looks for;
-- and removed when everybody who may have found it before has ended, and still no job is of it.

create table rolegate.job_principal_sweep (
    only_row boolean primary key default true check (only_row),
    -- The newest turn of the ring at the last look: before there is another one, nothing was forgotten.
    turn bigint not null default 0,
    -- The transaction that retired those that are retired now.
    marked xid8,
    -- Those who found them have ended when all below it have.
    until xid8
);
insert into rolegate.job_principal_sweep default values;

-- Of whom there are jobs, or will be.
create function rolegate.used_principals() returns setof bigint
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select j.principal from rolegate.job j
    union select d.principal from rolegate.job_deferred d
    union select p.principal from rolegate.job_parked p
    union select e.principal from rolegate.job_ended e
    union select c.principal from rolegate.job_cron c
$$;
revoke execute on function rolegate.used_principals() from public;

-- One step: retires principals older than that of whom there is no job, or finds that somebody may still
-- have seen them, or removes them. `again`: the next step is to be soon. Reads the ring twice for each of its
-- turns, and waits for nobody.
create function rolegate.sweep_principals(
    older_than interval, most integer, out retired integer, out removed integer, out again boolean
)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    s rolegate.job_principal_sweep;
    newest bigint;
begin
    if (most between 1 and 100000) is not true then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'most is 1 to 100000';
    end if;
    if pg_catalog.current_setting('transaction_isolation') <> 'read committed' then
        raise exception using
            errcode = 'invalid_transaction_state',
            message = 'principals are swept at isolation level READ COMMITTED';
    end if;
    retired := 0;
    removed := 0;
    again := false;
    if not pg_catalog.pg_try_advisory_xact_lock(rolegate.maintenance_lock_key() + 3) then
        return;
    end if;
    select * into strict s from rolegate.job_principal_sweep;
    select max(t.turn) into strict newest from rolegate.job_turn t;
    if s.marked is null and s.turn >= newest then
        return;
    end if;
    if s.marked is not null then
        again := true;
        -- Where a snapshot of before is held, they are seen as they were. Who holds none any more, and has
        -- enqueued, has a number.
        if exists (
            select from pg_catalog.pg_stat_activity a
            where a.datname = pg_catalog.current_database() and a.pid <> pg_catalog.pg_backend_pid()
                and pg_catalog.age(a.backend_xmin) >= pg_catalog.age(s.marked::xid))
        then
            return;
        elsif s.until is null then
            update rolegate.job_principal_sweep
            set until = pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot());
            return;
        elsif pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()) < s.until then
            return;
        end if;
    end if;

    perform pg_catalog.set_config('jit', 'off', true);
    -- The snapshot of the look after the lock, or a segment could be emptied in between whose jobs it
    -- does not see elsewhere yet.
    lock table rolegate.job in access share mode;
    if s.marked is null then
        with used as materialized (select u.id from rolegate.used_principals() u (id))
        update rolegate.job_principal p set digest = '\x00'::bytea || p.digest
        where p.id in (
            select c.id from rolegate.job_principal c
            where c.seen_at < pg_catalog.clock_timestamp() - older_than
                and not exists (select from used u where u.id = c.id)
            order by c.id limit most);
        get diagnostics retired = row_count;
        again := retired > 0;
        update rolegate.job_principal_sweep set
            turn = case when retired < most then newest else s.turn end,
            marked = case when retired > 0 then pg_catalog.pg_current_xact_id() end;
    else
        with used as materialized (select u.id from rolegate.used_principals() u (id))
        delete from rolegate.job_principal p
        where pg_catalog.length(p.digest) = 33 and not exists (select from used u where u.id = p.id);
        get diagnostics removed = row_count;
        -- Somebody had found them.
        update rolegate.job_principal p set digest = pg_catalog.substr(p.digest, 2)
        where pg_catalog.length(p.digest) = 33;
        update rolegate.job_principal_sweep set marked = null, until = null;
        again := s.turn < newest;
    end if;
end
$$;
revoke execute on function rolegate.sweep_principals(interval, integer) from public;
grant execute on function rolegate.sweep_principals(interval, integer) to rolegate_maintenance;

-- Principals of roles that are there again under another OID, and the role they are of now, or why not. A
-- role of the same name may be somebody else's, so their jobs don't run before somebody says that it is not:
-- whoever could mint a token for it, as with rebind_roles(). With `dry_run` nothing changes.
create function rolegate.rebind_jobs(only_roles text[] default null, dry_run boolean default false)
returns table (role_name text, old_oid oid, new_oid oid, principals bigint, refused text)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    replaced record;
    target oid;
    reason text;
begin
    for replaced in
        select p.role_name, p.role_oid, pg_catalog.count(*) as principals
        from rolegate.job_principal p
        join pg_catalog.pg_roles r on r.rolname = p.role_name and r.oid <> p.role_oid
        where only_roles is null or p.role_name::text = any (only_roles)
        group by p.role_name, p.role_oid
        order by p.role_name, p.role_oid
    loop
        begin
            target := rolegate.require_target(replaced.role_name::text);
            reason := null;
        exception
            when undefined_object or insufficient_privilege or object_not_in_prerequisite_state then
                target := null;
                reason := sqlerrm;
        end;
        return query
            select replaced.role_name::text, replaced.role_oid, target, replaced.principals, reason;
        if reason is null and not dry_run then
            update rolegate.job_principal p
            set role_oid = target,
                -- As in job_principal(), and retired if it is.
                digest = pg_catalog.substr('\x00'::bytea, 34 - pg_catalog.length(p.digest))
                    || pg_catalog.sha256(pg_catalog.convert_to(
                        pg_catalog.concat_ws(
                            '|', target, p.role_name, coalesce(p.token_id, ''), p.claims),
                        'UTF8'))
            where p.role_name = replaced.role_name and p.role_oid = replaced.role_oid;
        end if;
    end loop;
end
$$;
revoke execute on function rolegate.rebind_jobs(text[], boolean) from public;
grant execute on function rolegate.rebind_jobs(text[], boolean) to rolegate_operator;
